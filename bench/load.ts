import type pg from 'pg';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '../controller/client.ts';
import type { Progress } from './progress.ts';
import { inTurn } from './in-turn.ts';
import { TENANTS } from './simulated-platform.ts';
import { ONE_STEP } from './workload.ts';

const SUBMITTING = 32;
const POLL_MS = 250;

export interface LoadOptions {
  readonly client: Client;
  readonly pool: pg.Pool;
  readonly runs: number;
  /** So many runs at most have not ended. */
  readonly outstanding: number;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/** Submits runs of all tenants in turn, and resolves when all have ended. */
export async function putThrough({
  client,
  pool,
  runs,
  outstanding,
  progress,
  signal,
}: LoadOptions): Promise<void> {
  const before = await countEnded(pool);
  const since = new Date();
  let submitted = 0;
  let ended = 0;
  const submit = async (): Promise<void> => {
    while (submitted < runs && submitted - ended < outstanding) {
      const tenantId = inTurn(TENANTS, submitted);
      submitted += 1;
      await client.submit({ tenantId, definition: ONE_STEP, input: {} });
    }
  };
  while (ended < runs) {
    signal.throwIfAborted();
    await Promise.all(Array.from({ length: SUBMITTING }, submit));
    await delay(POLL_MS, undefined, { signal });
    ended = (await countEnded(pool)) - before;
    progress.count('ended', ended, runs);
  }
  await assertSimulated(pool, since);
}

/** A simulated pod completes without a word from a runner. Whatever else became of a run is not what is measured. */
async function assertSimulated(pool: pg.Pool, since: Date): Promise<void> {
  const { rows } = await pool.query<{ count: number; reason: string; message: string }>(
    `SELECT count(*)::int AS count, reason, min(message) AS message FROM workflow_runs
     WHERE finished_at >= $1 AND reason IS DISTINCT FROM 'RUNNER_CRASHED' GROUP BY reason`,
    [since],
  );
  const [other] = rows;
  if (other !== undefined) {
    throw new Error(`${other.count} runs on simulated nodes ended with ${other.reason}: ${other.message}`);
  }
}

async function countEnded(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    'SELECT count(*)::int AS count FROM workflow_runs WHERE finished_at IS NOT NULL',
  );
  return rows[0]?.count ?? 0;
}
