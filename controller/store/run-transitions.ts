import type pg from 'pg';
import type { BackendAttempt, RunLimits } from '../backends/types.ts';
import type { Exit } from '../model/exit.ts';
import type { AttemptRef, RunId, TenantId, WorkflowVersionId } from '../model/ids.ts';
import { statusesBefore, type RunStatus, type StepStatus } from '../model/run-status.ts';
import type { StopCause, Verdict } from '../model/verdict.ts';
import { PROVEN, proofValues, type ClaimProof } from './claim-proof.ts';
import { transaction, type Queryable } from './database.ts';

/**
 * The state machine of runs. Every transition is one compare-and-set: it names the attempt and the statuses that it
 * may start from, and tells whether it happened. Nothing else writes `workflow_runs.status`.
 */

/** All admissions, of all controllers, one after the other: caps are counted under this lock ("SLOT"). */
const ADMISSION_LOCK = 0x534c4f54;

/** An attempt that got its slots and may be started. */
export interface AdmittedAttempt extends AttemptRef {
  readonly tenantId: TenantId;
  readonly workflowVersionId: WorkflowVersionId;
  readonly limits: RunLimits;
  /** How long until its deadline, in ms. */
  readonly deadlineInMs: number;
}

/** How many runs of whom are wanted to start. */
export interface Wanted {
  readonly tenantId: TenantId;
  readonly runs: number;
}

interface AdmittedRow {
  id: RunId;
  attempt: number;
  tenant_id: TenantId;
  workflow_version_id: WorkflowVersionId;
  limits: RunLimits;
  timeout_ms: number;
}

/**
 * QUEUED → STARTING with a new attempt, for the oldest runs of each tenant, as far as both caps have free slots. A slot is
 * a run in STARTING or RUNNING.
 * @param claimTokenHashes one for each run that is wanted, or null: attempts are claimed by their pods' own identity.
 * @returns what was admitted, in the order in which it was wanted.
 */
export async function admitRuns(
  pool: pg.Pool,
  wanted: readonly Wanted[],
  {
    backend,
    claimTokenHashes,
  }: { readonly backend: string; readonly claimTokenHashes: readonly Buffer[] | null },
): Promise<readonly AdmittedAttempt[]> {
  const tenants = wanted.map(({ tenantId }) => tenantId);
  const admit = async (client: pg.PoolClient): Promise<AdmittedAttempt[]> => {
    const { rows } = await client.query<AdmittedRow>(
      `WITH allowed AS (
         SELECT w.tenant_id, w.position, least(w.runs, t.max_concurrent - (
           SELECT count(*) FROM workflow_runs s
           WHERE s.tenant_id = w.tenant_id AND s.status IN ('STARTING', 'RUNNING'))) AS runs
         FROM unnest($1::text[], $2::int[]) WITH ORDINALITY AS w(tenant_id, runs, position)
           JOIN tenants t ON t.tenant_id = w.tenant_id
         WHERE t.paused_at IS NULL
       ), oldest AS (
         SELECT head.id, head.queued_at, allowed.position FROM allowed CROSS JOIN LATERAL (
           SELECT r.id, r.queued_at FROM workflow_runs r
           WHERE r.tenant_id = allowed.tenant_id AND r.status = 'QUEUED' AND r.cancel_requested_at IS NULL
             AND (r.due_at IS NULL OR r.due_at <= clock_timestamp())
           ORDER BY r.queued_at, r.id LIMIT greatest(0, allowed.runs) FOR UPDATE SKIP LOCKED) AS head
         ORDER BY allowed.position, head.queued_at, head.id
         LIMIT greatest(0, (SELECT max_concurrent FROM platform)
           - (SELECT count(*) FROM workflow_runs s WHERE s.status IN ('STARTING', 'RUNNING')))
       ), free AS (
         SELECT id, row_number() OVER (ORDER BY position, queued_at, id) AS nth FROM oldest
       ), started AS (
         UPDATE workflow_runs r SET status = 'STARTING', attempt = r.attempt + 1, starting_at = clock_timestamp(),
           running_at = NULL, due_at = NULL, deadline_at = clock_timestamp() + r.timeout_ms * interval '1 millisecond'
         -- Without the array the planner, which cannot know how few they are, scans all runs for them.
         FROM free WHERE r.id = free.id AND r.id = ANY (ARRAY(SELECT id FROM free))
         RETURNING r.id, r.attempt, r.tenant_id, r.workflow_version_id, r.limits, r.timeout_ms, free.nth
       ), attempts AS (
         INSERT INTO run_attempts (run_id, number, backend, claim_token_hash)
         SELECT id, attempt, $3, ($4::bytea[])[nth] FROM started
       )
       SELECT * FROM started ORDER BY nth`,
      [tenants, wanted.map(({ runs }) => runs), backend, claimTokenHashes],
    );
    return rows.map((row) => ({
      runId: row.id,
      attempt: row.attempt,
      tenantId: row.tenant_id,
      workflowVersionId: row.workflow_version_id,
      limits: row.limits,
      deadlineInMs: row.timeout_ms,
    }));
  };
  return await transaction(pool, admit, `BEGIN; SELECT pg_advisory_xact_lock(${ADMISSION_LOCK})`);
}

/**
 * Gives an attempt that may not have been started yet its whole time again, from now.
 * @returns how long until its new deadline, in ms, or undefined when it was claimed meanwhile, or is not the run's attempt any more.
 */
export async function postponeStart(db: Queryable, ref: AttemptRef): Promise<number | undefined> {
  const { rows } = await db.query<{ timeout_ms: number }>(
    `UPDATE workflow_runs SET starting_at = clock_timestamp(),
       deadline_at = clock_timestamp() + timeout_ms * interval '1 millisecond'
     WHERE id = $1 AND attempt = $2 AND status = 'STARTING' RETURNING timeout_ms`,
    [ref.runId, ref.attempt],
  );
  return rows[0]?.timeout_ms;
}

/** Notes which container the attempt got. */
export async function recordContainer(db: Queryable, container: BackendAttempt): Promise<void> {
  await db.query('UPDATE run_attempts SET container_id = $3 WHERE run_id = $1 AND number = $2', [
    container.runId,
    container.attempt,
    container.containerId,
  ]);
}

/**
 * STARTING → RUNNING: the claim, which hands the payload out at most once per attempt (promise 1). Of any number of
 * concurrent callers with a proof that holds exactly one gets `true`.
 */
export async function claimRun(
  db: Queryable,
  ref: AttemptRef,
  claim: { readonly proof: ClaimProof; readonly reportTokenHash: Buffer },
): Promise<boolean> {
  const { rowCount } = await db.query(
    `WITH claimed AS (
       UPDATE workflow_runs r SET status = 'RUNNING', running_at = clock_timestamp()
       FROM run_attempts a
       WHERE r.id = $1 AND r.attempt = $2 AND r.status = 'STARTING' AND r.cancel_requested_at IS NULL
         AND r.deadline_at > clock_timestamp() AND a.run_id = r.id AND a.number = r.attempt
         AND ${PROVEN} AND a.claimed_at IS NULL AND a.stop_cause IS NULL AND a.ended_at IS NULL
       RETURNING r.id
     )
     UPDATE run_attempts a SET claimed_at = clock_timestamp(), report_token_hash = $5, claimed_by = $6
     FROM claimed WHERE a.run_id = claimed.id AND a.number = $2`,
    [
      ref.runId,
      ref.attempt,
      ...proofValues(claim.proof),
      claim.reportTokenHash,
      claim.proof.kind === 'pod' ? claim.proof.uid : null,
    ],
  );
  return rowCount === 1;
}

/**
 * Writes down why we are about to end the container. The first cause stays.
 * @returns the cause that stands; null when none was written: the attempt has ended, or CLAIM_TIMEOUT came too late for
 *   an attempt that was claimed meanwhile.
 */
export async function recordStopCause(
  db: Queryable,
  ref: AttemptRef,
  cause: StopCause,
): Promise<StopCause | null> {
  const { rows } = await db.query<{ stop_cause: StopCause | null }>(
    `UPDATE run_attempts SET stop_cause = coalesce(stop_cause, $3)
     WHERE run_id = $1 AND number = $2 AND ended_at IS NULL AND ($3 <> 'CLAIM_TIMEOUT' OR claimed_at IS NULL)
     RETURNING stop_cause`,
    [ref.runId, ref.attempt, cause],
  );
  return rows[0]?.stop_cause ?? null;
}

/**
 * The attempt of the run that `ended`. What ends its steps reads from this: a statement whose parts do not depend on
 * each other runs the last one first, and everybody who changes run, attempt and steps must lock them in this order.
 */
const END_ATTEMPT = `
  UPDATE run_attempts a SET ended_at = clock_timestamp(), exit_code = $3, oom_killed = $4, reason = $5, message = $6
  FROM ended WHERE a.run_id = ended.id AND a.number = $2`;

/**
 * Ends an attempt with one statement, and then its open steps with another: only a later statement sees the step
 * that a report inserted while the first one waited for it.
 */
async function endAttempt(
  pool: pg.Pool,
  ref: AttemptRef,
  statement: string,
  values: readonly unknown[],
  openSteps: StepStatus,
): Promise<boolean> {
  return await transaction(pool, async (db) => {
    const { rowCount } = await db.query(statement, [...values]);
    if (rowCount !== 1) return false;
    await db.query(
      `UPDATE step_runs SET status = $3, finished_at = clock_timestamp()
       WHERE run_id = $1 AND attempt = $2 AND status = 'RUNNING'`,
      [ref.runId, ref.attempt, openSteps],
    );
    return true;
  });
}

const attemptValues = (ref: AttemptRef, verdict: Verdict, exit: Exit | null): unknown[] => [
  ref.runId,
  ref.attempt,
  exit?.exitCode ?? null,
  exit?.oomKilled ?? null,
  verdict.reason,
  verdict.message,
];

/**
 * STARTING or RUNNING → terminal. Takes output and error from the runner's result, and ends its open steps.
 * @param exit how the container ended; null when none was ever started.
 * @returns false when the run was not in this attempt any more.
 */
export async function finishRun(
  pool: pg.Pool,
  ref: AttemptRef,
  verdict: Verdict,
  exit: Exit | null,
): Promise<boolean> {
  return await endAttempt(
    pool,
    ref,
    `WITH ended AS (
       UPDATE workflow_runs r SET status = $7, reason = $5, message = $6, output = a.result -> 'output',
         error = a.result -> 'error', finished_at = clock_timestamp()
       FROM run_attempts a
       WHERE r.id = $1 AND r.attempt = $2 AND r.status = ANY ($8) AND r.status <> 'QUEUED'
         AND a.run_id = r.id AND a.number = r.attempt
       RETURNING r.id
     )${END_ATTEMPT}`,
    [...attemptValues(ref, verdict, exit), verdict.status, statusesBefore(verdict.status)],
    verdict.status === 'SUCCESS' ? 'SKIPPED' : verdict.status,
  );
}

/**
 * STARTING → QUEUED, or RUNNING → QUEUED if its version allows: this attempt is over, another one will follow, not before
 * `delayMs` from now.
 * @returns false when the run was not in this attempt any more, is to be canceled, or was claimed meanwhile and must not be
 *   executed again.
 */
export async function requeueRun(
  pool: pg.Pool,
  ref: AttemptRef,
  verdict: Verdict,
  exit: Exit | null,
  delayMs: number,
): Promise<boolean> {
  return await endAttempt(
    pool,
    ref,
    `WITH ended AS (
       UPDATE workflow_runs SET status = 'QUEUED', starting_at = NULL, running_at = NULL, deadline_at = NULL,
         due_at = clock_timestamp() + $7 * interval '1 millisecond'
       WHERE id = $1 AND attempt = $2 AND cancel_requested_at IS NULL
         AND (status = 'STARTING' OR (status = 'RUNNING' AND retry_after_claim))
       RETURNING id
     )${END_ATTEMPT}`,
    [...attemptValues(ref, verdict, exit), delayMs],
    'FAILED',
  );
}

/**
 * Asks for cancellation: a QUEUED run is CANCELED at once, a live one when its container has ended.
 * @returns the run's status afterwards, or undefined if there is no such run.
 */
export async function requestCancel(db: Queryable, runId: RunId): Promise<RunStatus | undefined> {
  const { rows } = await db.query<{ status: RunStatus }>(
    `UPDATE workflow_runs SET
       cancel_requested_at = CASE WHEN finished_at IS NULL THEN coalesce(cancel_requested_at, clock_timestamp())
                                  ELSE cancel_requested_at END,
       status = CASE WHEN status = 'QUEUED' THEN 'CANCELED' ELSE status END,
       reason = CASE WHEN status = 'QUEUED' THEN 'CANCELED' ELSE reason END,
       message = CASE WHEN status = 'QUEUED' THEN 'canceled before it started' ELSE message END,
       finished_at = CASE WHEN status = 'QUEUED' THEN clock_timestamp() ELSE finished_at END
     WHERE id = $1 RETURNING status`,
    [runId],
  );
  return rows[0]?.status;
}
