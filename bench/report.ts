import type { Output } from '../controller/cli/output.ts';
import type { DockerFindings } from './docker.ts';
import { TARGETS, type Metrics } from './metrics.ts';
import { PHASES } from './phases.ts';
import { median, quantile } from './statistics.ts';

/** @returns the metrics of what was found, rounded to what is meaningful. */
export function metricsOf({ pairs, crowd, imageMb }: DockerFindings): Metrics {
  const runs = pairs.map(({ run }) => run.ms);
  const bare = pairs.map((pair) => pair.bare.ms);
  return {
    ratio_p50: rounded(median(pairs.map((pair) => pair.run.ms / pair.bare.ms)), 3),
    run_ms_p50: rounded(median(runs), 1),
    run_ms_p95: rounded(quantile(runs, 0.95), 1),
    docker_run_ms_p50: rounded(median(bare), 1),
    docker_run_ms_p95: rounded(quantile(bare, 0.95), 1),
    runner_start_ms_p50: rounded(median(pairs.map(({ run }) => run.runnerStart.totalMs)), 1),
    cap_violations: crowd.capViolations,
    not_terminal: crowd.notTerminal,
    leftovers: crowd.leftovers.length,
    runs_per_second: rounded(crowd.runsPerSecond, 2),
    image_mb: rounded(imageMb, 1),
  };
}

/** Prints where the time goes, then the metrics with their targets. */
export function report(findings: DockerFindings, output: Output): void {
  output.line();
  output.table(['A RUN', 'MS (P50)'], phaseRows(findings));
  output.line();
  output.table([`DOCKER RUN (${findings.means})`, 'MS (P50)'], bareRows(findings));
  output.line();
  output.table(['THE RUNNER’S START', 'MS (P50)'], startRows(findings));
  output.line();
  output.table(['METRIC', 'VALUE', 'TARGET', ''], metricRows(metricsOf(findings), output));
  const { notSuccessful } = findings.crowd;
  if (notSuccessful > 0) output.line(`${notSuccessful} of the runs at once did not end in SUCCESS.`);
}

const phaseRows = ({ pairs }: DockerFindings): string[][] =>
  PHASES.map((phase) => [phase, milliseconds(pairs.map(({ run }) => run.phases[phase]))]);

function bareRows({ pairs }: DockerFindings): string[][] {
  const bare = pairs.map((pair) => pair.bare);
  return [
    ['begin → created', milliseconds(bare.map(({ container }) => container.created))],
    ['created → started', milliseconds(bare.map(({ container }) => container.started - container.created))],
    [
      'started → container exit',
      milliseconds(bare.map(({ container }) => container.died - container.started)),
    ],
    ['exit → removed and done', milliseconds(bare.map(({ ms, container }) => ms - container.died))],
  ];
}

function startRows({ pairs }: DockerFindings): string[][] {
  const starts = pairs.map(({ run }) => run.runnerStart);
  return Object.keys(starts[0]?.parts ?? {}).map((part) => [
    part,
    milliseconds(starts.map(({ parts }) => parts[part] ?? 0)),
  ]);
}

const metricRows = (metrics: Metrics, output: Output): string[][] =>
  (Object.entries(metrics) as [keyof Metrics, number][]).map(([key, value]) => {
    const target = TARGETS[key];
    if (target === undefined) return [key, String(value), '', ''];
    const verdict = target.isMet(value) ? output.style('green', 'met') : output.style('red', 'missed');
    return [key, String(value), target.text, verdict];
  });

const milliseconds = (values: readonly number[]): string => median(values).toFixed(1);

const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));
