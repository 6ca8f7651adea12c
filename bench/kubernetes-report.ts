import type { Write } from './audit-log.ts';
import type { Cold } from './cold-runs.ts';
import { barePhases, coldPhases } from './kubernetes-phases.ts';
import type { KubernetesFindings } from './kubernetes.ts';
import type { MemoryUse } from './memory.ts';
import { atLeast, atMost, exactly, metric, type Metric } from './metrics.ts';
import { medianRows, type Report, type Table } from './report.ts';
import { median, quantile } from './statistics.ts';
import type { Creations, Submission } from './submission.ts';

/** @returns what was found on the Kubernetes backend, as it is shown. */
export function kubernetesReport({ cold, submission, memory }: KubernetesFindings): Report {
  return {
    tables: [
      ...(cold === undefined ? [] : coldTables(cold)),
      ...(memory === undefined ? [] : [memoryTable(memory)]),
    ],
    metrics: [
      ...(cold === undefined ? [] : coldMetrics(cold)),
      ...(submission === undefined ? [] : submissionMetrics(submission)),
      ...(memory === undefined ? [] : memoryMetrics(memory)),
    ],
    remarks: cold === undefined ? [] : [`What the platform wrote: ${kindsOf(cold.writes)}.`],
  };
}

function coldTables({ turns }: Cold): Table[] {
  return [
    { head: ['A COLD RUN', 'MS (P50)'], rows: medianRows(turns.map(({ run }) => coldPhases(run))) },
    { head: ['A BARE JOB', 'MS (P50)'], rows: medianRows(turns.map(({ bare }) => barePhases(bare))) },
    {
      head: ['THE RUNNER’S START', 'MS (P50)'],
      rows: medianRows(turns.map(({ run }) => run.runnerStart.parts)),
    },
  ];
}

function coldMetrics({ turns, runs, writes }: Cold): Metric[] {
  const cold = turns.map(({ run }) => run.seen - run.submitted);
  const bare = turns.map((turn) => turn.bare.times.terminated - turn.bare.posted);
  const complete = turns.map((turn) => turn.bare.times.complete - turn.bare.posted);
  return [
    // Each run by the bare Job right after it.
    metric('cold_ratio_p50', median(cold.map((ms, index) => ms / (bare[index] ?? NaN))), 3, atMost(1.25)),
    metric('cold_ms_p50', median(cold), 1),
    metric('cold_ms_p95', quantile(cold, 0.95), 1),
    metric('bare_job_ms_p50', median(bare), 1),
    metric('bare_job_ms_p95', quantile(bare, 0.95), 1),
    metric('job_complete_ms_p50', median(complete), 1),
    metric('writes_per_run', writes.length / runs, 3, exactly(1)),
  ];
}

/** @returns what was written how often, for people. */
function kindsOf(writes: readonly Write[]): string {
  const counts = new Map<string, number>();
  for (const { verb, resource, user } of writes) {
    const kind = `${verb} ${resource} by ${user.split(':').at(-1) ?? user}`;
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return [...counts].map(([kind, count]) => `${count} × ${kind}`).join(', ') || 'nothing';
}

function memoryTable(uses: readonly MemoryUse[]): Table {
  return {
    head: ['RUNS ENDED', 'RESIDENT (MIB)', 'HEAP (MIB)'],
    rows: uses.map(({ runs, rssMb, heapMb }) => [String(runs), rssMb.toFixed(1), heapMb.toFixed(1)]),
  };
}

function submissionMetrics({ ours, bare }: Submission): Metric[] {
  return [
    metric('submit_ratio', rate(ours) / rate(bare), 3, atLeast(0.6)),
    metric('submit_per_second', rate(ours), 1),
    metric('bare_post_per_second', rate(bare), 1),
    metric('submit_in_flight', Math.max(...ours.map(({ inFlight }) => inFlight)), 1),
  ];
}

/** Of all rounds together. */
const rate = (rounds: readonly Creations[]): number =>
  sum(rounds.map(({ jobs }) => jobs)) / sum(rounds.map(({ seconds }) => seconds));
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

function memoryMetrics(uses: readonly MemoryUse[]): Metric[] {
  const [first] = uses;
  const last = uses.at(-1);
  if (first === undefined || last === undefined) return [];
  return [
    metric('rss_growth_mb', last.rssMb - first.rssMb, 1, atMost(20)),
    metric('heap_growth_mb', last.heapMb - first.heapMb, 1),
    metric('rss_mb', last.rssMb, 1),
    metric('rss_runs', last.runs, 0),
  ];
}
