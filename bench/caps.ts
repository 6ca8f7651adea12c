import type { ContainerTimes } from './engine-timeline.ts';

/** The most containers that may be alive at the same time. */
export interface Caps {
  readonly global: number;
  readonly byTenant: ReadonlyMap<string, number>;
}

/**
 * Counts how often a container was started while its tenant, or all tenants together, had as many as they may have.
 * A container lives from its `start` event to its `die` event; one that never died lives on.
 */
export function countCapViolations(containers: readonly ContainerTimes[], caps: Caps): number {
  const changes = containers
    .flatMap(({ tenantId, started, died }) => [
      ...(started === undefined ? [] : [{ at: started, tenantId, by: 1 }]),
      ...(started === undefined || died === undefined ? [] : [{ at: died, tenantId, by: -1 }]),
    ])
    // Of the same instant, what ended comes first, as it must have.
    .sort((a, b) => a.at - b.at || a.by - b.by);
  const alive = new Map<string, number>();
  let all = 0;
  let violations = 0;
  for (const { tenantId, by } of changes) {
    const own = (alive.get(tenantId) ?? 0) + by;
    alive.set(tenantId, own);
    all += by;
    if (by < 0) continue;
    if (own > (caps.byTenant.get(tenantId) ?? 0)) violations += 1;
    if (all > caps.global) violations += 1;
  }
  return violations;
}
