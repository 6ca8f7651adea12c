import type { RunLimits } from '../backends/types.ts';
import { WormholeError } from '../errors.ts';
import type { RunId, TenantId, WorkflowVersionId } from '../model/ids.ts';
import type { Json } from '../model/json.ts';
import type { Reason } from '../model/reasons.ts';
import type { RunStatus, StepStatus } from '../model/run-status.ts';
import type { Queryable } from './database.ts';

/** A run as a list shows it. */
export interface RunSummary {
  readonly id: RunId;
  readonly tenantId: TenantId;
  readonly workflowVersionId: WorkflowVersionId;
  /** Null when the run named a version that does not exist. */
  readonly workflowName: string | null;
  readonly workflowVersion: number | null;
  readonly status: RunStatus;
  readonly reason: Reason | null;
  readonly message: string | null;
  readonly attempt: number;
  readonly queuedAt: Date;
  readonly startingAt: Date | null;
  readonly runningAt: Date | null;
  readonly finishedAt: Date | null;
  readonly deadlineAt: Date | null;
  readonly containerId: string | null;
  readonly cancelRequested: boolean;
  readonly rerunOf: RunId | null;
}

export interface StepRun {
  readonly key: string;
  readonly status: StepStatus;
  readonly tries: number;
  readonly startedAt: Date | null;
  readonly finishedAt: Date | null;
  readonly output: Json;
  readonly error: Json;
}

export interface RunAttempt {
  readonly number: number;
  readonly backend: string;
  readonly containerId: string | null;
  readonly createdAt: Date;
  readonly claimedAt: Date | null;
  readonly endedAt: Date | null;
  readonly exitCode: number | null;
  readonly oomKilled: boolean | null;
  readonly reason: Reason | null;
  readonly message: string | null;
}

/** A run with everything that is recorded of it but its logs. Steps are those of its last attempt. */
export interface RunDetail extends RunSummary {
  readonly input: Json;
  readonly output: Json;
  readonly error: Json;
  readonly steps: readonly StepRun[];
  readonly attempts: readonly RunAttempt[];
}

/** What to insert: validated, and bounded by the tenant's limits. */
export interface NewRun {
  readonly id: RunId;
  readonly tenantId: TenantId;
  readonly workflowVersionId: WorkflowVersionId;
  readonly input: Json;
  readonly timeoutMs: number;
  readonly limits: RunLimits;
  readonly retryAfterClaim: boolean;
  readonly idempotencyKey: string | null;
  /** SHA-256 of what was asked for: the same key with another request is a conflict. */
  readonly requestDigest: Buffer;
  readonly rerunOf: RunId | null;
  readonly traceparent: string | null;
}

/**
 * Inserts the run as QUEUED.
 * @returns its id; or, if the tenant used the idempotency key before, that run's.
 * @throws {WormholeError} IDEMPOTENCY_CONFLICT when the key was used for another request.
 */
export async function insertRun(
  db: Queryable,
  run: NewRun,
): Promise<{ readonly runId: RunId; readonly deduplicated: boolean }> {
  const { rowCount } = await db.query(
    `INSERT INTO workflow_runs (id, tenant_id, workflow_version_id, input, timeout_ms, limits, retry_after_claim,
       idempotency_key, request_digest, rerun_of, traceparent)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
     ON CONFLICT DO NOTHING`,
    [
      run.id,
      run.tenantId,
      run.workflowVersionId,
      JSON.stringify(run.input),
      run.timeoutMs,
      JSON.stringify(run.limits),
      run.retryAfterClaim,
      run.idempotencyKey,
      run.requestDigest,
      run.rerunOf,
      run.traceparent,
    ],
  );
  if (rowCount === 1) return { runId: run.id, deduplicated: false };
  return { runId: (await findAccepted(db, run)) ?? run.id, deduplicated: true };
}

/**
 * @returns the run that was accepted before under the same id or idempotency key, or undefined.
 * @throws {WormholeError} IDEMPOTENCY_CONFLICT when that was for another request.
 */
export async function findAccepted(
  db: Queryable,
  run: Pick<NewRun, 'id' | 'tenantId' | 'idempotencyKey' | 'requestDigest'>,
): Promise<RunId | undefined> {
  const { rows } = await db.query<{ id: RunId; tenant_id: TenantId; request_digest: Buffer }>(
    `SELECT id, tenant_id, request_digest FROM workflow_runs
     WHERE (tenant_id = $1 AND idempotency_key = $2) OR id = $3`,
    [run.tenantId, run.idempotencyKey, run.id],
  );
  const [existing] = rows;
  if (existing === undefined) return undefined;
  if (existing.tenant_id !== run.tenantId || !existing.request_digest.equals(run.requestDigest)) {
    const name = run.idempotencyKey === null ? `run id ${run.id}` : `idempotency key "${run.idempotencyKey}"`;
    throw new WormholeError(
      'IDEMPOTENCY_CONFLICT',
      `${name} was used before for another request; use a new one for a new run`,
    );
  }
  return existing.id;
}

/** @returns how many runs the tenant has in QUEUED, counted up to `atMost`. */
export async function countQueued(db: Queryable, tenantId: TenantId, atMost: number): Promise<number> {
  const { rows } = await db.query<{ queued: number }>(
    `SELECT count(*)::int AS queued FROM
       (SELECT 1 FROM workflow_runs WHERE tenant_id = $1 AND status = 'QUEUED' LIMIT $2) AS waiting`,
    [tenantId, atMost],
  );
  return rows[0]?.queued ?? 0;
}

const SUMMARY_COLUMNS = `r.id, r.tenant_id AS "tenantId", r.workflow_version_id AS "workflowVersionId", v.name AS "workflowName",
    v.version AS "workflowVersion", r.status, r.reason, r.message, r.attempt, r.queued_at AS "queuedAt",
    r.starting_at AS "startingAt", r.running_at AS "runningAt", r.finished_at AS "finishedAt",
    r.deadline_at AS "deadlineAt", a.container_id AS "containerId",
    r.cancel_requested_at IS NOT NULL AS "cancelRequested", r.rerun_of AS "rerunOf"`;
const SUMMARY_TABLES = `workflow_runs r
    LEFT JOIN workflow_versions v ON v.id = r.workflow_version_id AND v.tenant_id = r.tenant_id
    LEFT JOIN run_attempts a ON a.run_id = r.id AND a.number = r.attempt`;

/** @returns runs, newest first. */
export async function listRuns(
  db: Queryable,
  filter: {
    readonly tenantId?: TenantId | undefined;
    readonly status?: RunStatus | undefined;
    readonly limit?: number | undefined;
  },
): Promise<RunSummary[]> {
  const { rows } = await db.query<RunSummary>(
    `SELECT ${SUMMARY_COLUMNS} FROM ${SUMMARY_TABLES}
     WHERE ($1::text IS NULL OR r.tenant_id = $1) AND ($2::text IS NULL OR r.status = $2)
     ORDER BY r.id DESC LIMIT $3`,
    [filter.tenantId ?? null, filter.status ?? null, filter.limit ?? 100],
  );
  return rows;
}

/** @returns the run with all that is recorded of it, or undefined. */
export async function findRun(db: Queryable, runId: RunId): Promise<RunDetail | undefined> {
  const runs = await db.query<RunSummary & Pick<RunDetail, 'input' | 'output' | 'error'>>(
    `SELECT ${SUMMARY_COLUMNS}, r.input, r.output, r.error FROM ${SUMMARY_TABLES} WHERE r.id = $1`,
    [runId],
  );
  const run = runs.rows[0];
  if (run === undefined) return undefined;
  const steps = await db.query<StepRun>(
    `SELECT step_key AS key, status, tries, started_at AS "startedAt", finished_at AS "finishedAt", output, error
     FROM step_runs WHERE run_id = $1 AND attempt = $2 ORDER BY position`,
    [runId, run.attempt],
  );
  const attempts = await db.query<RunAttempt>(
    `SELECT number, backend, container_id AS "containerId", created_at AS "createdAt", claimed_at AS "claimedAt",
       ended_at AS "endedAt", exit_code AS "exitCode", oom_killed AS "oomKilled", reason, message
     FROM run_attempts WHERE run_id = $1 ORDER BY number`,
    [runId],
  );
  return { ...run, steps: steps.rows, attempts: attempts.rows };
}

/** @returns the run's status, or undefined if there is no such run. */
export async function findStatus(db: Queryable, runId: RunId): Promise<RunStatus | undefined> {
  const { rows } = await db.query<{ status: RunStatus }>('SELECT status FROM workflow_runs WHERE id = $1', [
    runId,
  ]);
  return rows[0]?.status;
}

/** Records a run that was refused at the door: FAILED from the start, with nothing of its payload. */
export async function insertRefusedRun(
  db: Queryable,
  run: Pick<NewRun, 'id' | 'tenantId' | 'workflowVersionId'> & {
    readonly reason: Reason;
    readonly message: string;
  },
): Promise<void> {
  await db.query(
    `INSERT INTO workflow_runs (id, tenant_id, workflow_version_id, status, reason, message, input, request_digest,
       timeout_ms, limits, finished_at)
     VALUES ($1, $2, $3, 'FAILED', $4, $5, 'null', ''::bytea, 1, '{}', clock_timestamp()) ON CONFLICT DO NOTHING`,
    [run.id, run.tenantId, run.workflowVersionId, run.reason, run.message],
  );
}
