import type { DockerFindings } from './docker.ts';
import { atMost, below, metric, type Metric } from './metrics.ts';
import { medianRows, type Report } from './report.ts';
import { median, quantile } from './statistics.ts';

/** @returns what was found on the Docker backend, as it is shown. */
export function dockerReport(findings: DockerFindings): Report {
  const { pairs, means, crowd } = findings;
  return {
    tables: [
      { head: ['A RUN', 'MS (P50)'], rows: medianRows(pairs.map(({ run }) => run.phases)) },
      { head: [`DOCKER RUN (${means})`, 'MS (P50)'], rows: medianRows(pairs.map(bareStretches)) },
      {
        head: ['THE RUNNER’S START', 'MS (P50)'],
        rows: medianRows(pairs.map(({ run }) => run.runnerStart.parts)),
      },
    ],
    metrics: dockerMetrics(findings),
    remarks:
      crowd.notSuccessful > 0 ? [`${crowd.notSuccessful} of the runs at once did not end in SUCCESS.`] : [],
  };
}

function dockerMetrics({ pairs, crowd, imageMb }: DockerFindings): Metric[] {
  const runs = pairs.map(({ run }) => run.ms);
  const bare = pairs.map((pair) => pair.bare.ms);
  const starts = pairs.map(({ run }) => run.runnerStart.totalMs);
  return [
    // Each run by the `docker run` right after it.
    metric('ratio_p50', median(pairs.map((pair) => pair.run.ms / pair.bare.ms)), 3, atMost(1.3)),
    metric('run_ms_p50', median(runs), 1),
    metric('run_ms_p95', quantile(runs, 0.95), 1),
    metric('docker_run_ms_p50', median(bare), 1),
    metric('docker_run_ms_p95', quantile(bare, 0.95), 1),
    metric('runner_start_ms_p50', median(starts), 1, below(250)),
    metric('cap_violations', crowd.capViolations, 0, atMost(0)),
    metric('not_terminal', crowd.notTerminal, 0, atMost(0)),
    metric('leftovers', crowd.leftovers.length, 0, atMost(0)),
    metric('runs_per_second', crowd.runsPerSecond, 2),
    metric('image_mb', imageMb, 1, below(90)),
  ];
}

function bareStretches({ bare: { ms, container } }: DockerFindings['pairs'][number]): Record<string, number> {
  const { created, started, died } = container;
  return {
    'begin → created': created,
    'created → started': started - created,
    'started → container exit': died - started,
    'exit → removed and done': ms - died,
  };
}
