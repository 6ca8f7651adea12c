import { DUE_AT_MOST, type Demand, type TenantDemand } from '../dispatch/demand.ts';
import type { TenantId } from '../model/ids.ts';
import type { StartRate } from '../model/tenant.ts';
import type { Queryable } from './database.ts';

interface Row {
  max_concurrent: number;
  start_rate: StartRate | null;
  slots: number;
  starting: number;
  tenants:
    | (Omit<TenantDemand, 'startRate' | 'dueInMs'> & {
        readonly startRate: StartRate | null;
        readonly dueAtMs: number | null;
      })[]
    | null;
  now_ms: number;
}

/** Tenants with work, by one look at each: what it costs depends on them, not on how many runs they have queued. */
const WITH_WORK = `
  SELECT tenant_id FROM (
    WITH RECURSIVE waiting AS (
      (SELECT tenant_id FROM workflow_runs WHERE status = 'QUEUED' ORDER BY tenant_id LIMIT 1)
      UNION ALL
      SELECT (SELECT r.tenant_id FROM workflow_runs r WHERE r.status = 'QUEUED' AND r.tenant_id > w.tenant_id
              ORDER BY r.tenant_id LIMIT 1)
      FROM waiting w WHERE w.tenant_id IS NOT NULL
    )
    SELECT tenant_id FROM waiting WHERE tenant_id IS NOT NULL
    UNION SELECT tenant_id FROM workflow_runs WHERE status IN ('STARTING', 'RUNNING')
  ) AS working`;

const demandOf = (tenants: string): string => `
  SELECT p.max_concurrent, p.start_rate, live.slots, live.starting, working.tenants,
    (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now_ms
  FROM platform p,
    (SELECT count(*)::int AS slots, count(*) FILTER (WHERE status = 'STARTING')::int AS starting
     FROM workflow_runs WHERE status IN ('STARTING', 'RUNNING')) AS live,
    (SELECT json_agg(json_build_object('tenantId', t.tenant_id, 'maxConcurrent', t.max_concurrent, 'weight', t.weight,
       'priority', t.priority, 'startRate', t.start_rate, 'paused', t.paused_at IS NOT NULL, 'slots', mine.slots,
       'starting', mine.starting, 'due', due.runs,
       'dueAtMs', (SELECT (extract(epoch FROM min(r.due_at)) * 1000)::float8 FROM workflow_runs r
                   WHERE r.tenant_id = t.tenant_id AND r.status = 'QUEUED' AND r.due_at > clock_timestamp()))) AS tenants
     FROM tenants t,
       LATERAL (SELECT count(*)::int AS slots, count(*) FILTER (WHERE status = 'STARTING')::int AS starting
                FROM workflow_runs r WHERE r.tenant_id = t.tenant_id AND r.status IN ('STARTING', 'RUNNING')) AS mine,
       LATERAL (SELECT count(*)::int AS runs FROM (
                  SELECT FROM workflow_runs r WHERE r.tenant_id = t.tenant_id AND r.status = 'QUEUED'
                    AND (r.due_at IS NULL OR r.due_at <= clock_timestamp()) LIMIT ${DUE_AT_MOST}) AS first_ones) AS due
     WHERE t.tenant_id IN (${tenants})) AS working`;

/**
 * @param tenants who is asked about. @default - all that have runs which have not ended
 * @returns what they may have, and what they have and want.
 */
export async function readDemand(db: Queryable, tenants?: readonly TenantId[]): Promise<Demand> {
  const { rows } =
    tenants === undefined
      ? await db.query<Row>(demandOf(WITH_WORK))
      : await db.query<Row>(demandOf('SELECT unnest($1::text[])'), [tenants]);
  const [row] = rows;
  if (row === undefined) throw new Error('table "platform" has no row; run the migrations');
  return {
    maxConcurrent: row.max_concurrent,
    startRate: row.start_rate ?? undefined,
    slots: row.slots,
    starting: row.starting,
    tenants: (row.tenants ?? []).map(({ dueAtMs, startRate, ...tenant }) => ({
      ...tenant,
      startRate: startRate ?? undefined,
      dueInMs: dueAtMs === null ? null : Math.max(0, dueAtMs - row.now_ms),
    })),
  };
}

/** A start of the last minutes. */
export interface RecentStart {
  readonly tenantId: TenantId;
  readonly msAgo: number;
}

/** @returns the starts that a start rate, the tenant's own or the platform's, still counts; oldest first. */
export async function recentStarts(db: Queryable): Promise<RecentStart[]> {
  const { rows } = await db.query<RecentStart>(
    `SELECT r.tenant_id AS "tenantId",
       (extract(epoch FROM clock_timestamp() - a.created_at) * 1000)::float8 AS "msAgo"
     FROM run_attempts a JOIN workflow_runs r ON r.id = a.run_id JOIN tenants t ON t.tenant_id = r.tenant_id, platform p
     WHERE (p.start_rate IS NOT NULL OR t.start_rate IS NOT NULL)
       AND a.created_at > clock_timestamp() - interval '1 millisecond' * (
         SELECT max((rate ->> 'durationMs')::int)
         FROM (SELECT start_rate FROM platform UNION ALL SELECT start_rate FROM tenants) AS rates(rate))
     ORDER BY a.created_at`,
  );
  return rows;
}
