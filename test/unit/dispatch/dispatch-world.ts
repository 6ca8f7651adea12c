import type { Demand, TenantDemand } from '../../../controller/dispatch/demand.ts';
import { Scheduler } from '../../../controller/dispatch/scheduler.ts';
import type { TenantId } from '../../../controller/model/ids.ts';
import type { StartRate } from '../../../controller/model/tenant.ts';

export type WorldTenant = Pick<
  TenantDemand,
  'tenantId' | 'maxConcurrent' | 'weight' | 'priority' | 'startRate' | 'paused'
>;

/** A tenant that may start a run now. */
type Startable = WorldTenant & { readonly slots: number };

/**
 * What a scheduler decides about, kept in the plainest way: queues, live runs and all starts ever. After everything that
 * happens the scheduler is told of it as the dispatcher tells it.
 */
export class DispatchWorld {
  readonly scheduler = new Scheduler();
  nowMs = 1_000_000;
  #platform: { readonly maxConcurrent: number; readonly startRate: StartRate | undefined };
  readonly #tenants: Map<TenantId, WorldTenant>;
  /** When each queued run is due. */
  readonly #queued: { readonly tenantId: TenantId; readonly dueAtMs: number }[] = [];
  /** Oldest first. */
  readonly #live: TenantId[] = [];
  readonly #starts: { readonly tenantId: TenantId; readonly atMs: number }[] = [];

  constructor(
    platform: { readonly maxConcurrent: number; readonly startRate?: StartRate | undefined },
    tenants: readonly WorldTenant[],
  ) {
    this.#platform = { startRate: undefined, ...platform };
    this.#tenants = new Map(tenants.map((tenant) => [tenant.tenantId, tenant]));
    this.#tell();
  }

  /** @returns the id of any tenant, by number. */
  tenant(nth: number): TenantId {
    const ids = [...this.#tenants.keys()];
    return ids[nth % ids.length]!;
  }

  arrive(tenantId: TenantId, runs: number): void {
    for (let n = 0; n < runs; n += 1) this.#queued.push({ tenantId, dueAtMs: this.nowMs });
    this.#tell([tenantId]);
  }

  /** Makes the tenant have at least so many runs queued. */
  fill(tenantId: TenantId, runs: number): void {
    this.arrive(tenantId, Math.max(0, runs - this.#due(tenantId)));
  }

  /** The tenant's queued runs are canceled. */
  drop(tenantId: TenantId): void {
    const kept = this.#queued.filter((run) => run.tenantId !== tenantId);
    this.#queued.splice(0, Infinity, ...kept);
    this.#tell([tenantId]);
  }

  postpone(tenantId: TenantId, ms: number): void {
    this.#queued.push({ tenantId, dueAtMs: this.nowMs + ms });
    this.#tell([tenantId]);
  }

  endOne(nth: number): void {
    if (this.#live.length === 0) return;
    const [tenantId] = this.#live.splice(nth % this.#live.length, 1);
    this.#tell([tenantId!]);
  }

  /** Time alone passes. */
  pass(ms: number): void {
    this.nowMs += ms;
    const overdue = this.scheduler.overdue(this.nowMs);
    if (overdue.length > 0) this.#tell(overdue);
  }

  set(tenantId: TenantId, more: Partial<Omit<WorldTenant, 'startRate'>>): void {
    this.#tenants.set(tenantId, { ...this.#tenants.get(tenantId)!, ...more, tenantId });
    this.#tell();
  }

  setCap(maxConcurrent: number): void {
    this.#platform = { ...this.#platform, maxConcurrent };
    this.#tell();
  }

  /** One turn. @returns who got it, as it was before. */
  pickOne(): Startable | undefined {
    const [picked] = this.scheduler.pick(this.nowMs, 1);
    if (picked === undefined) return undefined;
    const { tenantId } = picked;
    const served = { ...this.#tenants.get(tenantId)!, slots: this.#slots(tenantId) };
    const oldest = this.#queued.findIndex((run) => run.tenantId === tenantId && run.dueAtMs <= this.nowMs);
    this.#queued.splice(oldest, 1);
    this.#live.push(tenantId);
    this.#starts.push({ tenantId, atMs: this.nowMs });
    this.#tell([tenantId]);
    return served;
  }

  /** @returns everybody who may start a run at this moment, by the letter of the limits. */
  startable(atMs = this.nowMs): Startable[] {
    const { maxConcurrent, startRate } = this.#platform;
    if (this.#live.length >= maxConcurrent || !this.#isWithin(startRate, atMs)) return [];
    return [...this.#tenants.values()]
      .map((tenant) => ({ ...tenant, slots: this.#slots(tenant.tenantId) }))
      .filter(
        ({ tenantId, paused, slots, ...tenant }) =>
          !paused &&
          slots < tenant.maxConcurrent &&
          this.#due(tenantId, atMs) > 0 &&
          this.#isWithin(tenant.startRate, atMs, tenantId),
      );
  }

  /** @returns how long until somebody may, if nothing happens: tried at every moment at which that can change. */
  waitMs(): number {
    const durations = [this.#platform, ...this.#tenants.values()].map(
      ({ startRate }) => startRate?.durationMs ?? 0,
    );
    const moments = [
      this.nowMs,
      ...this.#queued.map(({ dueAtMs }) => dueAtMs),
      ...this.#starts.flatMap(({ atMs }) => durations.map((durationMs) => atMs + durationMs)),
    ].filter((moment) => moment >= this.nowMs);
    const open = moments.filter((moment) => this.startable(moment).length > 0);
    return Math.min(Infinity, ...open) - this.nowMs;
  }

  #isWithin(rate: StartRate | undefined, atMs: number, tenantId?: TenantId): boolean {
    if (rate === undefined) return true;
    const counted = this.#starts.filter(
      (start) =>
        start.atMs > atMs - rate.durationMs && (tenantId === undefined || start.tenantId === tenantId),
    );
    return counted.length < rate.max;
  }

  #slots(tenantId: TenantId): number {
    return this.#live.filter((live) => live === tenantId).length;
  }

  #due(tenantId: TenantId, atMs = this.nowMs): number {
    return this.#queued.filter((run) => run.tenantId === tenantId && run.dueAtMs <= atMs).length;
  }

  /** What PostgreSQL would answer. */
  #tell(asked?: readonly TenantId[]): void {
    const tenants = [...this.#tenants.values()]
      .filter(({ tenantId }) => asked === undefined || asked.includes(tenantId))
      .map((tenant): TenantDemand => {
        const later = this.#queued.filter(
          (run) => run.tenantId === tenant.tenantId && run.dueAtMs > this.nowMs,
        );
        const slots = this.#slots(tenant.tenantId);
        return {
          ...tenant,
          ...{ slots, starting: slots, due: this.#due(tenant.tenantId) },
          dueInMs: later.length === 0 ? null : Math.min(...later.map(({ dueAtMs }) => dueAtMs)) - this.nowMs,
        };
      });
    const slots = this.#live.length;
    const demand: Demand = { ...this.#platform, slots, starting: slots, tenants };
    this.scheduler.learn(demand, this.nowMs, asked);
  }
}
