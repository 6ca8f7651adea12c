import type { TenantId } from '../model/ids.ts';
import type { Tenant } from '../model/tenant.ts';
import type { Queryable } from './database.ts';
import { countQueued } from './runs.ts';

/** Submitters of one tenant that do not wait for each other, as long as there is room enough. */
const SHARDS = 8;
/** A queue that is shorter is counted as often as anybody asks. */
const CHEAP_COUNT = 1_000;
/** A longer one is counted for about this part of the time at most. */
const COUNTING_SHARE = 0.1;

type Limit = Pick<Tenant, 'id' | 'maxQueued'>;

/** @returns the parts of `room`, as equal as can be. */
export const divided = (room: number): number[] =>
  Array.from({ length: SHARDS }, (_, shard) => Math.floor((room + SHARDS - 1 - shard) / SHARDS));

/** What a queue is known to have room for. */
type Room = 'some' | 'none' | 'unknown';

/**
 * Takes one place in the tenant's queue, for a run that is inserted in the same transaction: two that submit at once
 * never get the same one. Runs are counted only when the places that the last count found are used up.
 * @param db a transaction, which has to be short: others may wait for its end.
 * @returns whether there was one.
 */
export async function takePlace(db: Queryable, tenant: Limit): Promise<boolean> {
  await db.query('SAVEPOINT untaken');
  if (await takeFromSome(db, tenant)) return true;
  // Gives up the lock on a row that turned out to be empty: all of them are locked in one order, or two wait for each other.
  await db.query('ROLLBACK TO SAVEPOINT untaken');
  if ((await look(db, tenant)) === 'none') return false;
  await db.query(
    `INSERT INTO queue_room (tenant_id, shard) SELECT $1, generate_series(0, $2::int - 1) ON CONFLICT DO NOTHING`,
    [tenant.id, SHARDS],
  );
  // Whoever is refused by a short queue locks nothing: it is no sooner told otherwise.
  const isShort = tenant.maxQueued <= CHEAP_COUNT;
  if (isShort && (await countQueued(db, tenant.id, tenant.maxQueued)) >= tenant.maxQueued) return false;
  // Once these rows are ours, all others who took a place of this tenant have committed what they inserted.
  await db.query('SELECT FROM queue_room WHERE tenant_id = $1 ORDER BY shard FOR UPDATE', [tenant.id]);
  switch (await look(db, tenant)) {
    case 'some':
      return await takeFromSome(db, tenant);
    case 'none':
      return false;
    case 'unknown':
      return await count(db, tenant);
  }
}

/** Takes a place from one row that has some. At most one row is locked, also when there is none any more. */
async function takeFromSome(db: Queryable, { id, maxQueued }: Limit): Promise<boolean> {
  const { rowCount } = await db.query(
    `UPDATE queue_room SET room = room - 1
     WHERE tenant_id = $1 AND room > 0 AND max_queued = $2 AND shard = (
       SELECT shard FROM queue_room WHERE tenant_id = $1 AND room > 0 AND max_queued = $2 ORDER BY random() LIMIT 1)`,
    [id, maxQueued],
  );
  return rowCount === 1;
}

async function look(db: Queryable, { id, maxQueued }: Limit): Promise<Room> {
  const { rows } = await db.query<{ room: Room }>(
    `SELECT CASE
       WHEN count(*) < $3 OR bool_or(max_queued <> $2) THEN 'unknown'
       WHEN sum(room) > 0 THEN 'some'
       WHEN max(next_count_at) <= clock_timestamp() THEN 'unknown'
       ELSE 'none' END AS room
     FROM queue_room WHERE tenant_id = $1`,
    [id, maxQueued, SHARDS],
  );
  return rows[0]?.room ?? 'unknown';
}

/** Counts the tenant's queue, whose rows here are locked, and takes a place if there is one. */
async function count(db: Queryable, tenant: Limit): Promise<boolean> {
  const before = performance.now();
  const queued = await countQueued(db, tenant.id, tenant.maxQueued);
  const tookMs = performance.now() - before;
  const room = tenant.maxQueued - queued;
  await db.query(
    `UPDATE queue_room SET room = ($3::int[])[shard + 1], max_queued = $2,
       next_count_at = clock_timestamp() + $4::float8 * interval '1 millisecond'
     WHERE tenant_id = $1`,
    [
      tenant.id,
      tenant.maxQueued,
      divided(Math.max(0, room - 1)),
      queued <= CHEAP_COUNT ? 0 : tookMs / COUNTING_SHARE,
    ],
  );
  return room > 0;
}

/** Within this time the pace of a tenant's starts is measured. */
const PACE_WINDOW_MS = 60_000;

/**
 * How soon a full queue may have a place again: as long as one start takes at the pace of the tenant's starts in the last
 * minute, or in the time since its oldest queued run was queued, if that is less; and not before it is counted again.
 * Without any start that is as long as the oldest has waited by now, or a minute.
 * @returns milliseconds.
 */
export async function placeExpectedIn(db: Queryable, tenantId: TenantId): Promise<number> {
  const { rows } = await db.query<{ ms: number }>(
    `WITH span AS (
       SELECT least($2, extract(epoch FROM clock_timestamp() - queued_at) * 1000)::float8 AS ms
       FROM workflow_runs WHERE tenant_id = $1 AND status = 'QUEUED' ORDER BY queued_at, id LIMIT 1
     ), pace AS (
       SELECT ms / greatest(1, (
         SELECT count(*) FROM run_attempts a JOIN workflow_runs r ON r.id = a.run_id
         WHERE a.created_at > clock_timestamp() - ms * interval '1 millisecond' AND r.tenant_id = $1)) AS ms
       FROM span
     ), recount AS (
       SELECT (extract(epoch FROM max(next_count_at) - clock_timestamp()) * 1000)::float8 AS ms
       FROM queue_room WHERE tenant_id = $1
     )
     SELECT coalesce(max(ms), 0)::float8 AS ms FROM (SELECT ms FROM pace UNION ALL SELECT ms FROM recount) AS expected`,
    [tenantId, PACE_WINDOW_MS],
  );
  return Math.max(0, rows[0]?.ms ?? 0);
}
