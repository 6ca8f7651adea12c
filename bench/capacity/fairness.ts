import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { RunId } from '../../controller/model/ids.ts';
import type { BenchContext } from '../benchmark.ts';
import { inTurn } from '../in-turn.ts';
import { until } from '../until.ts';
import { declareTenants, queueRuns, versionOf } from './backlog.ts';
import { clientProducer } from './producers.ts';
import type { QueueKind, Servers } from './servers.ts';

/** Tenants that have work, the late one among them. */
const ACTIVE = 10;
/** The flood, of one tenant. */
const FLOOD = 100_000;
/** Of each of the others: more than are started meanwhile. */
const OTHERS = 1000;
/** More slots than tenants, and fewer. */
const CAPS = [20, 4];
const TRIES = 15;
/** How long an attempt holds its slot, as a short run in a container does; slots are given back one after the other. */
const LIFE_MS = 300;
const PAUSE_MS = 300;

/** What a tenant's only run waited for, while all slots were taken and another tenant had a flood queued. */
export interface Wait {
  readonly cap: number;
  readonly activeTenants: number;
  /** Slots that were given to others between its submission and its start. */
  readonly slots: number;
}

/** Submits a single run of a tenant behind the flood of another one, again and again. */
export async function measureFairness(
  servers: Servers,
  context: BenchContext,
  queue: QueueKind,
): Promise<Wait[]> {
  const waits: Wait[] = [];
  for (const cap of CAPS) waits.push(...(await behindAFlood(servers, context, queue, cap)));
  return waits;
}

async function behindAFlood(
  servers: Servers,
  { progress, interrupt: { stop: signal } }: BenchContext,
  queue: QueueKind,
  cap: number,
): Promise<Wait[]> {
  progress.step(`one run behind ${FLOOD} of another tenant, ${ACTIVE} tenants, ${cap} slots (${queue})`);
  await using place = await servers.place(queue);
  const { pool } = place;
  const settings = { maxConcurrent: cap };
  const flooding = await declareTenants(pool, 1, { ...settings, prefix: 'flood' });
  const others = await declareTenants(pool, ACTIVE - 2, settings);
  // Behind all others in any order of names.
  const tenantId = inTurn(await declareTenants(pool, 1, { ...settings, prefix: 'zzz-late' }), 0);
  const work = { tenantId, workflowVersionId: await versionOf(pool, tenantId) };
  await queueRuns(pool, flooding, FLOOD);
  await queueRuns(pool, others, OTHERS);
  await using leader = await servers.lead(place, { maxConcurrent: cap, gate: { kind: 'closed' } });
  await leader.starts(cap);
  leader.setGate({ kind: 'open', lifeMs: LIFE_MS });
  await using producer = await clientProducer(place);
  const waits: Wait[] = [];
  for (let done = 0; done < TRIES; done += 1) {
    await delay(Math.random() * PAUSE_MS, undefined, { signal });
    const runId = await producer.submit(work);
    await until(() => hasEnded(pool, runId), signal);
    const slots = await slotsGivenBefore(pool, runId);
    progress.step(`  try ${done + 1} of ${TRIES}: ${slots} slots were given to others`);
    waits.push({ cap, activeTenants: ACTIVE, slots });
  }
  return waits;
}

async function hasEnded(pool: pg.Pool, runId: RunId): Promise<boolean> {
  const { rowCount } = await pool.query(
    'SELECT FROM workflow_runs WHERE id = $1 AND finished_at IS NOT NULL',
    [runId],
  );
  return rowCount === 1;
}

/** By PostgreSQL's clock: attempts that were admitted after the run was queued, and no later than its own. */
async function slotsGivenBefore(pool: pg.Pool, runId: RunId): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    `SELECT count(*)::int AS count
     FROM workflow_runs late JOIN run_attempts own ON own.run_id = late.id AND own.number = 1
       JOIN run_attempts given ON given.run_id <> late.id
         AND given.created_at > late.queued_at AND given.created_at <= own.created_at
     WHERE late.id = $1`,
    [runId],
  );
  return rows[0]?.count ?? NaN;
}
