import type { RunId, TenantId } from '../model/ids.ts';
import type { Reason } from '../model/reasons.ts';
import type { StepStatus, TerminalStatus } from '../model/run-status.ts';
import type { Queryable } from '../store/database.ts';

/** An attempt of a run that has ended, as PostgreSQL recorded it. */
export interface EndedAttempt {
  readonly number: number;
  readonly backend: string;
  readonly createdAt: Date;
  readonly claimedAt: Date | null;
  readonly resultAt: Date | null;
  readonly endedAt: Date | null;
  readonly exitCode: number | null;
  readonly reason: Reason | null;
}

/** A step of such a run. Its times are those of the container's clock, and what it says comes from the runner. */
export interface EndedStep {
  readonly attempt: number;
  readonly key: string;
  readonly status: StepStatus;
  readonly tries: number;
  readonly startedAt: Date | null;
  readonly finishedAt: Date | null;
  readonly errorCode: string | null;
  readonly httpStatus: number | null;
}

/** A run that has ended: what is known of its course, and nothing of its payload. */
export interface EndedRun {
  readonly runId: RunId;
  readonly tenantId: TenantId;
  readonly workflowVersionId: string;
  readonly status: TerminalStatus;
  readonly reason: Reason | null;
  readonly traceparent: string | null;
  readonly queuedAt: Date;
  readonly finishedAt: Date;
  readonly attempts: readonly EndedAttempt[];
  readonly steps: readonly EndedStep[];
}

/** Longest error code of a step that is kept, in characters: ours are shorter, and a runner may say anything. */
const CODE_CHARACTERS = 40;

const RUNS = `
  SELECT id AS "runId", tenant_id AS "tenantId", workflow_version_id AS "workflowVersionId", status, reason, traceparent,
    queued_at AS "queuedAt", finished_at AS "finishedAt"
  FROM workflow_runs WHERE id = ANY ($1) AND finished_at IS NOT NULL`;
const ATTEMPTS = `
  SELECT run_id AS "runId", number, backend, created_at AS "createdAt", claimed_at AS "claimedAt",
    result_at AS "resultAt", ended_at AS "endedAt", exit_code AS "exitCode", reason
  FROM run_attempts WHERE run_id = ANY ($1) ORDER BY number`;
const STEPS = `
  SELECT run_id AS "runId", attempt, step_key AS key, status, tries, started_at AS "startedAt",
    finished_at AS "finishedAt", left(error ->> 'code', ${CODE_CHARACTERS}) AS "errorCode",
    CASE WHEN coalesce(error -> 'status', output -> 'status') @? '$ ? (@ >= 100 && @ < 1000)'
      THEN floor(coalesce(error -> 'status', output -> 'status')::float8)::int END AS "httpStatus"
  FROM step_runs WHERE run_id = ANY ($1) ORDER BY attempt, position`;

/**
 * @param options.steps whether the steps are wanted, too.
 * @returns those of the runs that have ended.
 */
export async function readEndedRuns(
  db: Queryable,
  runIds: readonly RunId[],
  options: { readonly steps: boolean },
): Promise<EndedRun[]> {
  const runs = await db.query<Omit<EndedRun, 'attempts' | 'steps'>>(RUNS, [runIds]);
  const attempts = await db.query<EndedAttempt & { readonly runId: RunId }>(ATTEMPTS, [runIds]);
  const steps = options.steps
    ? (await db.query<EndedStep & { readonly runId: RunId }>(STEPS, [runIds])).rows
    : [];
  const attemptsOf = Map.groupBy(attempts.rows, ({ runId }) => runId);
  const stepsOf = Map.groupBy(steps, ({ runId }) => runId);
  return runs.rows.map((run) => ({
    ...run,
    attempts: attemptsOf.get(run.runId) ?? [],
    steps: stepsOf.get(run.runId) ?? [],
  }));
}
