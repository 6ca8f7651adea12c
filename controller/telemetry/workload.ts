import type { TenantId } from '../model/ids.ts';
import type { Queryable } from '../store/database.ts';
import { OTHER_TENANTS } from './metrics.ts';

/** The work of a tenant, or of several together. */
export interface TenantWorkload {
  readonly tenant: string;
  /** Runs in QUEUED. */
  readonly queued: number;
  /** Since the run was submitted that waits longest; 0 if none waits. */
  readonly oldestQueuedSeconds: number;
  /** Runs in STARTING. */
  readonly starting: number;
  /** Runs in RUNNING. */
  readonly running: number;
  /** How many may be in STARTING and RUNNING. */
  readonly maxConcurrent: number;
  /** How many may be QUEUED. */
  readonly maxQueued: number;
  /** How many of these tenants an operator has paused. */
  readonly paused: number;
}

/** What the record says of the work there is. */
export interface Workload {
  /** How many runs of all tenants may be in STARTING and RUNNING. */
  readonly maxConcurrent: number;
  /** Of tenants that have runs which have not ended. */
  readonly tenants: readonly TenantWorkload[];
}

/**
 * One row a tenant with work. Tenants that wait are found by one look each into the index of queued runs; what is
 * counted is read from the indexes of queued and of live runs alone.
 */
const WORKLOAD = `
  WITH RECURSIVE waiting AS (
    (SELECT tenant_id FROM workflow_runs WHERE status = 'QUEUED' ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT r.tenant_id FROM workflow_runs r WHERE r.status = 'QUEUED' AND r.tenant_id > w.tenant_id
            ORDER BY r.tenant_id LIMIT 1)
    FROM waiting w WHERE w.tenant_id IS NOT NULL
  ), live AS (
    SELECT tenant_id, count(*) FILTER (WHERE status = 'STARTING')::int AS starting,
      count(*) FILTER (WHERE status = 'RUNNING')::int AS running
    FROM workflow_runs WHERE status IN ('STARTING', 'RUNNING') GROUP BY tenant_id
  ), working AS (
    SELECT tenant_id FROM waiting WHERE tenant_id IS NOT NULL UNION SELECT tenant_id FROM live
  )
  SELECT t.tenant_id AS tenant, t.max_concurrent AS "maxConcurrent", t.max_queued AS "maxQueued",
    (t.paused_at IS NOT NULL)::int AS paused,
    coalesce(live.starting, 0) AS starting, coalesce(live.running, 0) AS running,
    (SELECT count(*)::int FROM workflow_runs q WHERE q.tenant_id = t.tenant_id AND q.status = 'QUEUED') AS queued,
    coalesce((SELECT greatest(0, extract(epoch FROM clock_timestamp() - q.queued_at))::float8 FROM workflow_runs q
              WHERE q.tenant_id = t.tenant_id AND q.status = 'QUEUED' ORDER BY q.queued_at, q.id LIMIT 1), 0) AS "oldestQueuedSeconds"
  FROM working JOIN tenants t USING (tenant_id) LEFT JOIN live USING (tenant_id)`;

/**
 * Reads the work there is, as PostgreSQL records it, with two statements.
 * @param labelled so many tenants, those with the most runs, are told one by one; the rest as one, {@link OTHER_TENANTS}.
 */
export async function readWorkload(db: Queryable, labelled: number): Promise<Workload> {
  const platform = await db.query<{ max_concurrent: number }>('SELECT max_concurrent FROM platform');
  const { rows } = await db.query<TenantWorkload & { readonly tenant: TenantId }>(WORKLOAD);
  const most = rows.length <= labelled ? rows : rows.toSorted((one, other) => runsOf(other) - runsOf(one));
  const rest = most.slice(labelled);
  return {
    maxConcurrent: platform.rows[0]?.max_concurrent ?? 0,
    tenants: [...most.slice(0, labelled), ...(rest.length === 0 ? [] : [together(rest)])],
  };
}

const runsOf = ({ queued, starting, running }: TenantWorkload): number => queued + starting + running;

function together(tenants: readonly TenantWorkload[]): TenantWorkload {
  const sum = (of: (tenant: TenantWorkload) => number): number =>
    tenants.reduce((total, tenant) => total + of(tenant), 0);
  return {
    tenant: OTHER_TENANTS,
    queued: sum((tenant) => tenant.queued),
    oldestQueuedSeconds: tenants.reduce((age, tenant) => Math.max(age, tenant.oldestQueuedSeconds), 0),
    starting: sum((tenant) => tenant.starting),
    running: sum((tenant) => tenant.running),
    maxConcurrent: sum((tenant) => tenant.maxConcurrent),
    maxQueued: sum((tenant) => tenant.maxQueued),
    paused: sum((tenant) => tenant.paused),
  };
}
