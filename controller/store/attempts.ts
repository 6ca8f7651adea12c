import type { AttemptRef, RunId, TenantId } from '../model/ids.ts';
import type { Json } from '../model/json.ts';
import type { RunStatus } from '../model/run-status.ts';
import type { RunResult, StopCause } from '../model/verdict.ts';
import { PROVEN, proofValues, type ClaimProof } from './claim-proof.ts';
import type { Queryable } from './database.ts';

/** What the controller and the gateway need to know of a run's current attempt. */
export interface LiveAttempt extends AttemptRef {
  readonly tenantId: TenantId;
  readonly status: RunStatus;
  /** How long ago it was admitted, in ms. */
  readonly admittedMsAgo: number;
  /** How long until its deadline, in ms; negative when that is past. */
  readonly deadlineInMs: number;
  readonly cancelRequested: boolean;
  readonly retryAfterClaim: boolean;
  readonly claimed: boolean;
  readonly stopCause: StopCause | null;
  readonly result: RunResult | null;
}

/** PostgreSQL's clock is compared with itself only: any machine's may be wrong. */
const msBetween = (from: string, to: string): string =>
  `(extract(epoch FROM ${to} - ${from}) * 1000)::float8`;

const LIVE = `
  SELECT r.id AS "runId", r.attempt, r.tenant_id AS "tenantId", r.status,
    ${msBetween('r.starting_at', 'clock_timestamp()')} AS "admittedMsAgo",
    ${msBetween('clock_timestamp()', 'r.deadline_at')} AS "deadlineInMs", r.cancel_requested_at IS NOT NULL AS "cancelRequested",
    r.retry_after_claim AS "retryAfterClaim", a.claimed_at IS NOT NULL AS claimed, a.stop_cause AS "stopCause", a.result
  FROM workflow_runs r JOIN run_attempts a ON a.run_id = r.id AND a.number = r.attempt
  WHERE r.status IN ('STARTING', 'RUNNING')`;

/** @returns all attempts that hold a slot. */
export async function liveAttempts(db: Queryable): Promise<LiveAttempt[]> {
  return (await db.query<LiveAttempt>(LIVE)).rows;
}

/** @returns the run's attempt if it holds a slot. */
export async function findLiveAttempt(db: Queryable, runId: RunId): Promise<LiveAttempt | undefined> {
  return (await db.query<LiveAttempt>(`${LIVE} AND r.id = $1`, [runId])).rows[0];
}

/** The attempt that a report token belongs to, and what the gateway answers by. */
export interface ReportingAttempt extends AttemptRef {
  readonly tenantId: TenantId;
  readonly workflowVersionId: string;
  readonly ended: boolean;
  readonly resulted: boolean;
  readonly reportSequence: number;
  /** The log lines that it sent, in bytes. */
  readonly logBytes: number;
  readonly stopCause: StopCause | null;
  readonly cancelRequested: boolean;
}

/**
 * @param podUid the pod that reports; null where its socket or its claim token is what tells it apart.
 * @returns the attempt whose claim answered this pod with this token, or undefined.
 */
export async function findByReportToken(
  db: Queryable,
  ref: AttemptRef,
  reportTokenHash: Buffer,
  podUid: string | null,
): Promise<ReportingAttempt | undefined> {
  const { rows } = await db.query<ReportingAttempt>(
    `SELECT r.id AS "runId", a.number AS attempt, r.tenant_id AS "tenantId", r.workflow_version_id AS "workflowVersionId",
       (a.ended_at IS NOT NULL OR r.attempt <> a.number OR r.finished_at IS NOT NULL) AS ended,
       a.result_at IS NOT NULL AS resulted, a.report_sequence AS "reportSequence",
       a.log_bytes::float8 AS "logBytes", a.stop_cause AS "stopCause",
       r.cancel_requested_at IS NOT NULL AS "cancelRequested"
     FROM run_attempts a JOIN workflow_runs r ON r.id = a.run_id
     WHERE a.run_id = $1 AND a.number = $2 AND a.report_token_hash = $3
       AND a.claimed_by IS NOT DISTINCT FROM $4`,
    [ref.runId, ref.attempt, reportTokenHash, podUid],
  );
  return rows[0];
}

/** A step transition as the runner reported it, made storable. */
export interface StepReport {
  readonly key: string;
  readonly position: number;
  readonly status: string;
  readonly startedAt: Date | null;
  readonly finishedAt: Date | null;
  readonly tries: number;
  readonly output: Json;
  readonly error: Json;
}

/** One batch, ready to be recorded. */
export interface BatchRecord {
  readonly sequence: number;
  readonly steps: readonly StepReport[];
  /** Its log lines, in bytes. */
  readonly logBytes: number;
}

/**
 * Records one batch: takes its sequence number, adds up its log lines and writes its steps, in one statement.
 * A step that has ended stays as it ended.
 * @returns false when the number is not the next one, or the attempt has ended or given its result.
 */
export async function recordReport(db: Queryable, ref: AttemptRef, batch: BatchRecord): Promise<boolean> {
  const { rows } = await db.query<{ taken: number }>(
    `WITH taken AS (
       UPDATE run_attempts SET report_sequence = $3, log_bytes = log_bytes + $5
       WHERE run_id = $1 AND number = $2 AND report_sequence = $3 - 1 AND ended_at IS NULL AND result_at IS NULL
       RETURNING run_id, number
     ), steps AS (
       INSERT INTO step_runs (run_id, attempt, step_key, position, status, started_at, finished_at, tries, output, error)
       SELECT taken.run_id, taken.number, s.key, s.position, s.status, s."startedAt", s."finishedAt", s.tries, s.output, s.error
       FROM taken, jsonb_to_recordset($4::jsonb) AS s(key text, position int, status text, "startedAt" timestamptz,
         "finishedAt" timestamptz, tries int, output jsonb, error jsonb)
       ON CONFLICT (run_id, attempt, step_key) DO UPDATE SET status = excluded.status, finished_at = excluded.finished_at,
         tries = excluded.tries, output = excluded.output, error = excluded.error,
         started_at = coalesce(step_runs.started_at, excluded.started_at)
       WHERE step_runs.status = 'RUNNING'
     )
     SELECT count(*)::int AS taken FROM taken`,
    [ref.runId, ref.attempt, batch.sequence, JSON.stringify(batch.steps), batch.logBytes],
  );
  return rows[0]?.taken === 1;
}

/** The runner's last word, with what it hands over. */
export interface StoredResult extends RunResult {
  readonly output?: Json;
  readonly error?: Json;
}

/** Records the result once. @returns false when there is one already or the attempt has ended. */
export async function recordResult(db: Queryable, ref: AttemptRef, result: StoredResult): Promise<boolean> {
  const { rowCount } = await db.query(
    `UPDATE run_attempts SET result = $3, result_at = clock_timestamp()
     WHERE run_id = $1 AND number = $2 AND result_at IS NULL AND ended_at IS NULL`,
    [ref.runId, ref.attempt, JSON.stringify(result)],
  );
  return rowCount === 1;
}

/** What the claim hands over, but for the credentials. */
export interface Payload extends AttemptRef {
  readonly tenantId: TenantId;
  readonly workflowVersionId: string;
  readonly definition: Json;
  readonly input: Json;
  /** The backend that started the attempt. */
  readonly mode: string;
  /** The trace context that the run was submitted with. */
  readonly traceparent: string | null;
  /** How long ago the run was submitted, in ms. */
  readonly queuedMsAgo: number;
  /** How long until the deadline, in ms. */
  readonly deadlineInMs: number;
}

/** @returns the payload of an attempt that may still be claimed with this proof, or undefined. Hands nothing out. */
export async function findClaimable(
  db: Queryable,
  ref: AttemptRef,
  proof: ClaimProof,
): Promise<Payload | undefined> {
  const { rows } = await db.query<Payload>(
    `SELECT r.id AS "runId", r.attempt, r.tenant_id AS "tenantId", r.workflow_version_id AS "workflowVersionId",
       v.definition, r.input, a.backend AS mode, r.traceparent,
       (extract(epoch FROM clock_timestamp() - r.queued_at) * 1000)::float8 AS "queuedMsAgo",
       ${msBetween('clock_timestamp()', 'r.deadline_at')} AS "deadlineInMs"
     FROM workflow_runs r JOIN run_attempts a ON a.run_id = r.id AND a.number = r.attempt
       JOIN workflow_versions v ON v.id = r.workflow_version_id AND v.tenant_id = r.tenant_id
     WHERE r.id = $1 AND r.attempt = $2 AND r.status = 'STARTING' AND ${PROVEN} AND a.claimed_at IS NULL`,
    [ref.runId, ref.attempt, ...proofValues(proof)],
  );
  return rows[0];
}
