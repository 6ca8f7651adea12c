import type pg from 'pg';
import type { RunId } from '../controller/model/ids.ts';
import type { ContainerTimes } from './engine-timeline.ts';

/** The stretches of a run's time, in their order; together they are all of it. */
export const PHASES = [
  'submit → QUEUED',
  'QUEUED → STARTING',
  'STARTING → container created',
  'created → started',
  'started → RUNNING (claim)',
  'RUNNING → result',
  'result → container exit',
  'exit → terminal status',
  'terminal status → seen',
] as const;
export type Phase = (typeof PHASES)[number];

/** Milliseconds by phase. */
export type PhaseTimes = Readonly<Record<Phase, number>>;

/** When things happened to a run, by PostgreSQL's clock: milliseconds since the epoch, with fractions. */
export interface RunTimes {
  readonly queued: number;
  readonly starting: number;
  readonly running: number;
  /** The gateway recorded the runner's result. */
  readonly result: number;
  readonly finished: number;
}

/** Reads the times of a run that succeeded at its first attempt. @throws when there is no such run. */
export async function readRunTimes(pool: pg.Pool, runId: RunId): Promise<RunTimes> {
  const epochMs = (column: string): string => `(extract(epoch FROM ${column}) * 1000)::float8`;
  const { rows } = await pool.query<RunTimes>(
    `SELECT ${epochMs('r.queued_at')} AS queued, ${epochMs('r.starting_at')} AS starting,
       ${epochMs('r.running_at')} AS running, ${epochMs('a.result_at')} AS result, ${epochMs('r.finished_at')} AS finished
     FROM workflow_runs r JOIN run_attempts a ON a.run_id = r.id
     WHERE r.id = $1 AND r.status = 'SUCCESS' AND r.attempt = 1`,
    [runId],
  );
  const times = rows[0];
  if (times === undefined)
    throw new Error(`run ${runId} did not succeed at its first attempt, so it cannot be measured`);
  return times;
}

/** Divides a run's time into phases. All clocks are this machine's. */
export function phasesOf(
  submitted: number,
  run: RunTimes,
  container: Required<Pick<ContainerTimes, 'created' | 'started' | 'died'>>,
  seen: number,
): PhaseTimes {
  return {
    'submit → QUEUED': run.queued - submitted,
    'QUEUED → STARTING': run.starting - run.queued,
    'STARTING → container created': container.created - run.starting,
    'created → started': container.started - container.created,
    'started → RUNNING (claim)': run.running - container.started,
    'RUNNING → result': run.result - run.running,
    'result → container exit': container.died - run.result,
    'exit → terminal status': run.finished - container.died,
    'terminal status → seen': seen - run.finished,
  };
}
