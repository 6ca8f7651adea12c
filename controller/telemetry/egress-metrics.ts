import { Counter } from 'prom-client';
import type { EgressRecord } from '../egress/record.ts';
import { OTHER_TENANTS, type Metrics } from './metrics.ts';

/** What the egress proxy decides: by verdict and by tenant, never by host, which tenants choose. */
export class EgressMetrics {
  readonly #decisions: Counter<'verdict' | 'reason'>;
  readonly #tenantDecisions: Counter<'tenant' | 'verdict'>;
  readonly #labelled = new Set<string>();
  readonly #labelledTenants: number;

  constructor(metrics: Metrics) {
    const registers = [metrics.registry];
    this.#labelledTenants = metrics.labelledTenants;
    this.#decisions = new Counter({
      name: 'wormhole_egress_decisions_total',
      help: 'Requests and tunnels that the egress proxy decided about, by verdict (allowed, denied) and reason; NONE: allowed.',
      labelNames: ['verdict', 'reason'],
      registers,
    });
    this.#tenantDecisions = new Counter({
      name: 'wormhole_egress_tenant_decisions_total',
      help: 'The same by tenant and verdict; "_other": tenants beyond those that have a label, and requests that proved none.',
      labelNames: ['tenant', 'verdict'],
      registers,
    });
  }

  /** The proxy decided about a request. */
  decided({ tenantId, allowed, reason }: EgressRecord): void {
    const verdict = allowed ? 'allowed' : 'denied';
    this.#decisions.inc({ verdict, reason: reason ?? 'NONE' });
    this.#tenantDecisions.inc({ tenant: this.#labelOf(tenantId), verdict });
  }

  /** The first tenants get a label of their own, and keep it. */
  #labelOf(tenantId: string | null): string {
    if (tenantId === null) return OTHER_TENANTS;
    if (!this.#labelled.has(tenantId)) {
      if (this.#labelled.size >= this.#labelledTenants) return OTHER_TENANTS;
      this.#labelled.add(tenantId);
    }
    return tenantId;
  }
}
