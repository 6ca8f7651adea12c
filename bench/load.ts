import type pg from 'pg';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '../controller/client.ts';
import type { Progress } from './progress.ts';
import { inTurn } from './in-turn.ts';
import { TENANTS } from './simulated-platform.ts';
import { ONE_STEP } from './workload.ts';

const SUBMITTING = 32;
const POLL_MS = 250;

/** Submits runs of all tenants in turn. */
export async function submit(client: Client, runs: number, signal: AbortSignal): Promise<void> {
  let submitted = 0;
  const work = async (): Promise<void> => {
    while (submitted < runs) {
      signal.throwIfAborted();
      const tenantId = inTurn(TENANTS, submitted);
      submitted += 1;
      await client.submit({ tenantId, definition: ONE_STEP, input: {} });
    }
  };
  await Promise.all(Array.from({ length: SUBMITTING }, work));
}

/** How much a cluster takes without delaying pods: the API server counts the pods of a tenant one after the other. */
const OUTSTANDING = 200;
const PORTION = 50;

/** Submits runs as others end. */
export async function feed(client: Client, { pool, runs, progress, signal }: EndOptions): Promise<void> {
  let submitted = 0;
  while (submitted < runs) {
    const live = await countLive(pool);
    progress.count('ended', submitted - live, runs);
    if (live + PORTION > OUTSTANDING) {
      await delay(POLL_MS, undefined, { signal });
      continue;
    }
    const portion = Math.min(PORTION, runs - submitted);
    await submit(client, portion, signal);
    submitted += portion;
  }
}

export interface EndOptions {
  readonly pool: pg.Pool;
  /** So many were submitted, for people. */
  readonly runs: number;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/** Waits until no run is left that has not ended. @throws when one did not end as runs on simulated nodes do. */
export async function untilEnded({ pool, runs, progress, signal }: EndOptions): Promise<void> {
  for (let live = runs; live > 0;) {
    await delay(POLL_MS, undefined, { signal });
    live = await countLive(pool);
    progress.count('ended', runs - live, runs);
  }
  await assertSimulated(pool);
}

async function countLive(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    'SELECT count(*)::int AS count FROM workflow_runs WHERE finished_at IS NULL',
  );
  return rows[0]?.count ?? 0;
}

/** A simulated pod completes without a word from a runner. Whatever else became of a run is not what is measured. */
async function assertSimulated(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ count: number; reason: string; message: string }>(
    `SELECT count(*)::int AS count, reason, min(message) AS message FROM workflow_runs
     WHERE reason IS DISTINCT FROM 'RUNNER_CRASHED' GROUP BY reason`,
  );
  const [other] = rows;
  if (other !== undefined) {
    throw new Error(`${other.count} runs on simulated nodes ended with ${other.reason}: ${other.message}`);
  }
}
