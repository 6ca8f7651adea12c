import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { BenchContext } from '../benchmark.ts';
import { declareTenants, queueRuns } from './backlog.ts';
import type { Place, QueueKind, Servers } from './servers.ts';

/** Declared tenants without a run. */
export const IDLE = { few: 10, many: 10_000 };
/** Tenants with a run that waits for a slot. */
const WAITING = 1000;
const CAP = 50;
/** What an idle tenant may have had open is closed by then. */
const QUIET_MS = 12_000;
/** Pools open connections for a moment: what is there all the time is the fewest of so many looks. */
const LOOKS = 10;
const LOOK_MS = 300;

/** Connections that a controller held. */
export interface Held {
  readonly queue: QueueKind;
  readonly tenants: number;
  /** Whether each of them had a run queued, or none any. */
  readonly waiting: boolean;
  readonly postgres: number;
  /** Of Redis; none where the queue is in PostgreSQL. */
  readonly redis: number;
}

/** Counts a controller's connections for few and many declared tenants without work, and for tenants that wait. */
export async function measureConnections(
  servers: Servers,
  { progress, interrupt: { stop: signal } }: BenchContext,
  queue: QueueKind,
): Promise<Held[]> {
  const found: Held[] = [];
  for (const { tenants, waiting } of [
    { tenants: IDLE.few, waiting: false },
    { tenants: IDLE.many, waiting: false },
    { tenants: WAITING, waiting: true },
  ]) {
    progress.step(`connections for ${tenants} ${waiting ? 'waiting' : 'idle'} tenants (${queue})`);
    await using place = await servers.place(queue);
    const ids = await declareTenants(place.pool, tenants);
    if (waiting) await queueRuns(place.pool, ids, 1);
    await using leader = await servers.lead(place, { maxConcurrent: CAP, gate: { kind: 'closed' } });
    if (waiting) await leader.starts(CAP);
    await delay(QUIET_MS, undefined, { signal });
    found.push({ queue, tenants, waiting, ...(await fewest(place, signal)) });
  }
  return found;
}

async function fewest(place: Place, signal: AbortSignal): Promise<Pick<Held, 'postgres' | 'redis'>> {
  let held = await count(place);
  for (let looks = 1; looks < LOOKS; looks += 1) {
    await delay(LOOK_MS, undefined, { signal });
    const { postgres, redis } = await count(place);
    held = { postgres: Math.min(held.postgres, postgres), redis: Math.min(held.redis, redis) };
  }
  return held;
}

/** The benchmark's own are not counted. */
async function count({ pool, redisUrl }: Place): Promise<Pick<Held, 'postgres' | 'redis'>> {
  const { rows } = await pool.query<{ count: number }>(
    `SELECT count(*)::int AS count FROM pg_stat_activity
     WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`,
  );
  // What else the pool has open.
  const postgres = (rows[0]?.count ?? NaN) - (pool.totalCount - 1);
  return { postgres, redis: redisUrl === undefined ? 0 : await countRedis(redisUrl) };
}

async function countRedis(url: string): Promise<number> {
  const redis = new Redis(url);
  try {
    const clients = await redis.client('LIST');
    // Of this database: every measurement has one of its own.
    const own = new URL(url).pathname.slice(1);
    return (
      String(clients)
        .split('\n')
        .filter((line) => line.includes(` db=${own} `)).length - 1
    );
  } finally {
    redis.disconnect();
  }
}
