import { setTimeout as delay } from 'node:timers/promises';
import { Gauge } from 'prom-client';
import type { Queryable } from '../store/database.ts';
import type { Metrics } from './metrics.ts';
import { readWorkload, type TenantWorkload } from './workload.ts';

/** A reading does not wait longer for PostgreSQL; Prometheus itself gives up after 10 s by default. */
const STORE_TIMEOUT_MS = 4_000;

/** Queue, slots and caps, read from PostgreSQL whenever the metrics are read, once this controller leads. */
export class WorkloadMetrics {
  readonly #metrics: Metrics;
  readonly #maxConcurrent: Gauge;
  readonly #read: Gauge;
  readonly #byTenant: readonly (readonly [Gauge, (tenant: TenantWorkload) => number])[];
  #reading: Promise<void> | undefined;

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
    const gauge = (name: string, help: string, labelNames: readonly string[] = []): Gauge =>
      new Gauge({ name, help, labelNames, registers: [metrics.registry] });
    const byTenant = (name: string, help: string): Gauge => gauge(name, help, ['tenant']);
    this.#maxConcurrent = gauge(
      'wormhole_platform_slots_max',
      'How many runs of all tenants together may be STARTING or RUNNING.',
    );
    this.#read = gauge(
      'wormhole_store_readable',
      'Whether the last reading got an answer from PostgreSQL (1) or not (0); what is read there is left out then.',
    );
    this.#byTenant = [
      [byTenant('wormhole_runs_queued', 'Runs in QUEUED, of tenants with work.'), (of) => of.queued],
      [
        byTenant(
          'wormhole_runs_queued_max',
          'How many runs the tenant may have in QUEUED, of tenants with work.',
        ),
        (of) => of.maxQueued,
      ],
      [
        byTenant(
          'wormhole_runs_queued_oldest_age_seconds',
          'Since the QUEUED run was submitted that waits longest, of tenants with work; 0 if none waits.',
        ),
        (of) => of.oldestQueuedSeconds,
      ],
      [byTenant('wormhole_runs_starting', 'Runs in STARTING, of tenants with work.'), (of) => of.starting],
      [byTenant('wormhole_runs_running', 'Runs in RUNNING, of tenants with work.'), (of) => of.running],
      [
        byTenant(
          'wormhole_tenant_slots_max',
          'How many runs of the tenant may be STARTING or RUNNING, of tenants with work.',
        ),
        (of) => of.maxConcurrent,
      ],
      [
        byTenant(
          'wormhole_tenant_paused',
          'Whether an operator has paused the tenant (1) or not (0), of tenants with work; of "_other": how many are paused.',
        ),
        (of) => of.paused,
      ],
    ];
    this.#clear();
  }

  /** From now on each reading of the metrics reads PostgreSQL. @returns what ends it. */
  follow(db: Queryable): () => void {
    const end = this.#metrics.beforeReading(() => this.#refresh(db));
    return () => {
      end();
      this.#clear();
    };
  }

  /** Readings at the same time share one look. One that takes too long is not waited for, and not repeated meanwhile. */
  async #refresh(db: Queryable): Promise<void> {
    this.#reading ??= this.#look(db).finally(() => {
      this.#reading = undefined;
    });
    const given = new AbortController();
    const tooLong = delay(STORE_TIMEOUT_MS, 'too long' as const, { signal: given.signal }).catch(
      () => undefined,
    );
    if ((await Promise.race([this.#reading, tooLong])) === 'too long') this.#clear();
    given.abort();
  }

  async #look(db: Queryable): Promise<void> {
    try {
      const { maxConcurrent, tenants } = await readWorkload(db, this.#metrics.labelledTenants);
      this.#clear();
      this.#read.set(1);
      this.#maxConcurrent.set(maxConcurrent);
      for (const [gauge, valueOf] of this.#byTenant) {
        for (const tenant of tenants) gauge.set({ tenant: tenant.tenant }, valueOf(tenant));
      }
    } catch {
      // The controller itself says in its log what is wrong with PostgreSQL.
      this.#clear();
    }
  }

  /** What is not known now must not look like what was. */
  #clear(): void {
    this.#read.set(0);
    this.#maxConcurrent.remove();
    for (const [gauge] of this.#byTenant) gauge.reset();
  }
}
