import { setTimeout as delay } from 'node:timers/promises';
import type { TenantId } from '../../controller/model/ids.ts';
import type { BenchContext } from '../benchmark.ts';
import { countQueued, declareTenants, queueRuns } from './backlog.ts';
import type { LeaderProcess } from './leader-process.ts';
import type { Place, QueueKind, Servers } from './servers.ts';

const TENANTS = 1000;
const FEW_EACH = 1;
const CAP = 50;
/** What comes with a wave of news has been dealt with by then. */
const QUIET_MS = 8000;

/** What a controller used, all garbage collected, while so many runs waited. */
export interface Use {
  readonly queued: number;
  readonly rssBytes: number;
  /** Of JavaScript: its heap and the buffers outside it. */
  readonly heapBytes: number;
}

/** The same controller, with few runs queued and with many. */
export interface MemoryUse {
  readonly few: Use;
  readonly many: Use;
}

/**
 * Looks at a controller's memory while its slots are taken and few runs wait, then many. Before, as many as that came and
 * were gone: what the process needs to hear of so many is not what it keeps of them.
 */
export async function measureMemory(
  servers: Servers,
  { progress, interrupt: { stop: signal } }: BenchContext,
  queue: QueueKind,
  manyEach: number,
): Promise<MemoryUse> {
  progress.step(`memory of a controller, ${TENANTS * manyEach} runs of ${TENANTS} tenants queued (${queue})`);
  await using place = await servers.place(queue);
  const tenants = await declareTenants(place.pool, TENANTS);
  await queueRuns(place.pool, tenants, FEW_EACH);
  await using leader = await servers.lead(place, { maxConcurrent: CAP, gate: { kind: 'closed' } });
  await leader.starts(CAP);
  await hear(place, tenants, manyEach);
  await place.pool.query(
    `UPDATE workflow_runs SET status = 'CANCELED', reason = 'CANCELED', finished_at = clock_timestamp()
     WHERE status = 'QUEUED'`,
  );
  await hear(place, tenants, FEW_EACH);
  const few = await look(leader, place);
  await hear(place, tenants, manyEach - FEW_EACH);
  return { few, many: await look(leader, place) };

  async function hear(at: Place, whose: readonly TenantId[], each: number): Promise<void> {
    await queueRuns(at.pool, whose, each);
    await delay(QUIET_MS, undefined, { signal });
  }
}

async function look(leader: LeaderProcess, { pool }: Place): Promise<Use> {
  const { rss, heapUsed, external } = await leader.memory();
  return { queued: await countQueued(pool), rssBytes: rss, heapBytes: heapUsed + external };
}
