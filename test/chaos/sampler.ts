import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { LABELS } from '../../controller/model/labels.ts';
import { CAPS, INSTANCE, type World } from './world.ts';
import { within } from './within.ts';

const INTERVAL_MS = 400;
const CALL_MS = 5_000;
/**
 * A container whose attempt holds no slot: its start outlived the leader that asked for it, or it is being removed. It has
 * no payload and gets none. A reconciliation removes it, every 5 s, unless that leader is killed, or the engine is.
 */
const ORPHAN_MS = 60_000;

/** Something that must never be seen while a suite runs. */
export interface Sighting {
  readonly kind: 'CAP_EXCEEDED' | 'ORPHAN_STAYED';
  readonly runId?: string;
  readonly evidence: string;
}

interface Slot {
  readonly tenant: string;
  readonly attempt: string;
}
/** A container that runs. */
export interface Live extends Slot {
  readonly containerId: string;
  readonly runId: string;
}

/** Looks at the record and at the engine all the time, at both only while they can be asked. */
export class Sampler {
  readonly sightings: Sighting[] = [];
  /** How many looks there were at the record and the engine within one interval. */
  samples = 0;
  /** The most that was ever seen. */
  readonly peak = { slots: 0, containers: 0, orphans: 0, orphanMs: 0 };
  readonly #world: World;
  readonly #orphanSince = new Map<string, number>();
  #queued = 0;
  #live: readonly Live[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  /** Runs that were QUEUED at the last look. */
  get queued(): number {
    return this.#queued;
  }

  /** The containers that were running at the last look. */
  get live(): readonly Live[] {
    return this.#live;
  }

  /** Looks until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#look();
      } catch {
        // One of them is away; what was seen before says nothing about now.
        this.#orphanSince.clear();
        this.#live = [];
      }
      await delay(INTERVAL_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Containers first: what is live by then had its slot before it was started. */
  async #look(): Promise<void> {
    const live = await this.#containers();
    this.#live = live;
    const slots = await this.#slots();
    this.samples += 1;
    this.peak.slots = Math.max(this.peak.slots, slots.length);
    this.peak.containers = Math.max(this.peak.containers, live.length);
    this.#checkCaps(slots);
    this.#checkOrphans(live, new Set(slots.map(({ attempt }) => attempt)));
  }

  async #containers(): Promise<Live[]> {
    const found = await within(
      CALL_MS,
      'listing containers',
      this.#world.engine.docker.listContainers({
        filters: { label: [`${LABELS.instance}=${INSTANCE}`], status: ['running'] },
      }),
    );
    return found.map(({ Id, Labels }) => ({
      containerId: Id,
      runId: Labels[LABELS.runId] ?? '',
      tenant: Labels[LABELS.tenantId] ?? '',
      attempt: `${Labels[LABELS.runId] ?? ''}-${Labels[LABELS.attempt] ?? ''}`,
    }));
  }

  async #slots(): Promise<Slot[]> {
    const client = new pg.Client({ connectionString: this.#world.postgres.url, query_timeout: CALL_MS });
    client.on('error', () => undefined);
    try {
      await client.connect();
      const { rows } = await client.query<Slot & { readonly status: string }>(
        `SELECT tenant_id AS tenant, id || '-' || attempt AS attempt, status FROM workflow_runs
         WHERE status IN ('QUEUED', 'STARTING', 'RUNNING')`,
      );
      this.#queued = rows.filter(({ status }) => status === 'QUEUED').length;
      return rows.filter(({ status }) => status !== 'QUEUED');
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  #checkCaps(slots: readonly Slot[]): void {
    const over = (whose: string, held: readonly Slot[], cap: number): void => {
      if (held.length <= cap) return;
      const evidence = `${whose} holds ${held.length} slots, cap ${cap}: ${held.map((slot) => slot.attempt).join(', ')}`;
      this.sightings.push({ kind: 'CAP_EXCEEDED', evidence });
    };
    over('the platform', slots, CAPS.global);
    for (const [tenant, cap] of CAPS.tenants) {
      over(
        `tenant ${tenant}`,
        slots.filter((slot) => slot.tenant === tenant),
        cap,
      );
    }
  }

  #checkOrphans(live: readonly Live[], slots: ReadonlySet<string>): void {
    const orphans = live.filter(({ attempt }) => !slots.has(attempt));
    const now = performance.now();
    this.peak.orphans = Math.max(this.peak.orphans, orphans.length);
    for (const id of this.#orphanSince.keys()) {
      if (!orphans.some(({ containerId }) => containerId === id)) this.#orphanSince.delete(id);
    }
    for (const { containerId, runId, attempt } of orphans) {
      const since = this.#orphanSince.get(containerId) ?? now;
      this.#orphanSince.set(containerId, since);
      this.peak.orphanMs = Math.max(this.peak.orphanMs, now - since);
      if (now - since < ORPHAN_MS || this.sightings.some((one) => one.evidence.includes(containerId)))
        continue;
      const evidence = `container ${containerId} of attempt ${attempt} runs for ${ORPHAN_MS} ms without a slot`;
      this.sightings.push({ kind: 'ORPHAN_STAYED', runId, evidence });
    }
  }
}
