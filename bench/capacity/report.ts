import type { CapacityFindings } from '../capacity.ts';
import { atLeast, atMost, below, exactly, metric, type Metric } from '../metrics.ts';
import type { Report, Table } from '../report.ts';
import { median, quantile } from '../statistics.ts';
import { IDLE, type Held } from './connections.ts';
import type { Dispatch } from './latency.ts';
import type { Wait } from './fairness.ts';
import type { MemoryUse } from './memory.ts';
import type { Round } from './rate.ts';

/** @returns what was found of dispatch, as it is shown. */
export function capacityReport(findings: CapacityFindings): Report {
  const { dispatch, waits, rounds, memory, connections, takeovers } = findings;
  return {
    tables: [
      ...(dispatch === undefined ? [] : [dispatchTable(dispatch)]),
      ...(rounds === undefined ? [] : [roundsTable(rounds)]),
      ...(connections === undefined ? [] : [connectionsTable(connections)]),
    ],
    metrics: [
      ...(waits === undefined ? [] : fairnessMetrics(waits)),
      ...(rounds === undefined ? [] : rateMetrics(rounds)),
      ...(memory === undefined ? [] : memoryMetrics(memory)),
      ...(connections === undefined ? [] : [connectionsMetric(connections)]),
      ...(dispatch === undefined ? [] : dispatchMetrics(dispatch)),
      ...(takeovers === undefined ? [] : takeoverMetrics(takeovers)),
    ],
    remarks: ['PostgreSQL is the embedded one without fsync; runs have no container.'],
  };
}

const ms = (values: readonly number[], fraction: number): string => quantile(values, fraction).toFixed(1);

const dispatchTable = (all: readonly Dispatch[]): Table => ({
  head: ['SUBMIT TO START (MS)', 'RUNS', 'P50', 'P95', 'P99', 'MOST', 'TIMERS LATE (P95)'],
  rows: all.flatMap(({ queue, producer, lone, paced, lateMs }) =>
    Object.entries({ 'one by one': lone, 'at random times': paced }).map(([how, values]) => [
      `${queue}, ${producer}, ${how}`,
      String(values.length),
      ...[0.5, 0.95, 0.99, 1].map((fraction) => ms(values, fraction)),
      lateMs.toFixed(1),
    ]),
  ),
});

const roundsTable = (rounds: readonly Round[]): Table => ({
  head: ['TENANTS', 'QUEUED', 'STARTS A SECOND', 'CPU (MS A RUN)', 'BACKEND (MS A RUN)', 'UNTIL IT LED (MS)'],
  rows: rounds.map(({ tenants, queued, perSecond, cpuMs, backendMs, recoveryMs }) => [
    String(tenants),
    String(queued),
    perSecond.toFixed(0),
    cpuMs.toFixed(2),
    backendMs.toFixed(3),
    recoveryMs.toFixed(0),
  ]),
});

const connectionsTable = (all: readonly Held[]): Table => ({
  head: ['TENANTS', 'QUEUE', 'POSTGRESQL', 'REDIS'],
  rows: all.map(({ queue, tenants, waiting, postgres, redis }) => [
    `${tenants} ${waiting ? 'waiting' : 'idle'}`,
    queue,
    String(postgres),
    String(redis),
  ]),
});

function fairnessMetrics(waits: readonly Wait[]): Metric[] {
  const slots = waits.map((wait) => wait.slots / wait.activeTenants);
  return [
    metric('slots_waited_per_tenant', Math.max(...slots), 2, atMost(2)),
    metric('slots_waited_p50', median(waits.map((wait) => wait.slots)), 1),
  ];
}

function rateMetrics(rounds: readonly Round[]): Metric[] {
  const [first] = rounds;
  if (first === undefined) return [];
  // The first is of many tenants with a short queue.
  const ofMany = rounds.filter(({ tenants }) => tenants === first.tenants);
  const ofOne = rounds.filter(({ tenants }) => tenants !== first.tenants);
  const isShort = ({ queued }: Round): boolean => queued === first.queued;
  return [
    metric('dispatch_rate_ratio_100k', ratio(ofMany, isShort), 3, atLeast(0.8)),
    metric('dispatch_rate_ratio_100k_of_one', ratio(ofOne, isShort), 3, atLeast(0.8)),
    metric('dispatch_per_second_1k', median(rates(ofMany.filter(isShort))), 0),
    metric('dispatch_per_second_100k', median(rates(ofMany.filter((one) => !isShort(one)))), 0),
  ];
}

const rates = (rounds: readonly Round[]): number[] => rounds.map(({ perSecond }) => perSecond);

/** Each long queue by the short one right before it. */
function ratio(rounds: readonly Round[], isShort: (round: Round) => boolean): number {
  const long = rates(rounds.filter((one) => !isShort(one)));
  return median(rates(rounds.filter(isShort)).map((short, index) => (long[index] ?? NaN) / short));
}

function memoryMetrics({ few, many }: MemoryUse): Metric[] {
  const runs = many.queued - few.queued;
  return [
    metric('bytes_per_queued_run', (many.heapBytes - few.heapBytes) / runs, 1, atMost(64)),
    metric('rss_bytes_per_queued_run', (many.rssBytes - few.rssBytes) / runs, 1, atMost(64)),
  ];
}

function connectionsMetric(all: readonly Held[]): Metric {
  const idle = all.filter(({ waiting }) => !waiting);
  const held = (tenants: number): number =>
    idle
      .filter((one) => one.tenants === tenants)
      .reduce((sum, { postgres, redis }) => sum + postgres + redis, 0);
  return metric(
    'connections_per_idle_tenant',
    (held(IDLE.many) - held(IDLE.few)) / (IDLE.many - IDLE.few),
    4,
    exactly(0),
  );
}

function dispatchMetrics(all: readonly Dispatch[]): Metric[] {
  const of = ({ queue, producer }: Pick<Dispatch, 'queue' | 'producer'>) => {
    const one = all.find((each) => each.queue === queue && each.producer === producer);
    if (one === undefined) throw new Error(`nothing was measured with ${queue} and ${producer}`);
    // The worse of both.
    return (fraction: number) => Math.max(quantile(one.lone, fraction), quantile(one.paced, fraction));
  };
  const limits = { redis: below(15), embedded: below(30) };
  return (['redis', 'embedded'] as const).flatMap((queue) => {
    const byClient = of({ queue, producer: 'client' });
    const byQueue = of({ queue, producer: 'bullmq' });
    return [
      metric(`dispatch_ms_p50_${queue}`, byClient(0.5), 1),
      metric(`dispatch_ms_p95_${queue}`, byClient(0.95), 1, limits[queue]),
      metric(`dispatch_ms_p50_${queue}_bullmq`, byQueue(0.5), 1),
      metric(`dispatch_ms_p95_${queue}_bullmq`, byQueue(0.95), 1),
    ];
  });
}

const takeoverMetrics = (took: readonly number[]): Metric[] => [
  metric('takeover_ms', Math.max(...took), 0, atMost(5000)),
  metric('takeover_ms_p50', median(took), 0),
];
