import type { BareRun } from './bare-job.ts';
import type { ColdRun } from './cold-runs.ts';

/** @returns the stretches of a cold run's time in their order, in milliseconds; together they are all of it. */
export function coldPhases({
  submitted,
  seen,
  run,
  jobCreated,
  cluster,
  runnerStart,
}: ColdRun): Record<string, number> {
  const { imports = 0, claim = 0 } = runnerStart.parts;
  // The runner times itself: it claimed this long after its first line.
  const firstLine = run.running - imports - claim;
  return {
    'submit → QUEUED': run.queued - submitted,
    'QUEUED → STARTING': run.starting - run.queued,
    'STARTING → Job created (POST answered)': jobCreated - run.starting,
    'Job created → pod created': cluster.podCreated - jobCreated,
    'pod created → scheduled': cluster.scheduled - cluster.podCreated,
    'scheduled → runner’s first line': firstLine - cluster.scheduled,
    'first line → RUNNING (claim)': run.running - firstLine,
    'RUNNING → result': run.result - run.running,
    'result → exit told by the cluster': cluster.terminated - run.result,
    'exit told → terminal status': run.finished - cluster.terminated,
    'terminal status → seen': seen - run.finished,
  };
}

/** The same of a bare Job, from its POST until the watch tells that its container has ended. */
export const barePhases = ({ posted, answered, times }: BareRun): Record<string, number> => ({
  'POST → answered': answered - posted,
  'answered → pod created': times.podCreated - answered,
  'pod created → scheduled': times.scheduled - times.podCreated,
  'scheduled → exit told by the cluster': times.terminated - times.scheduled,
});
