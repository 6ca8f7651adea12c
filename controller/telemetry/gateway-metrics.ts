import { Counter, Histogram } from 'prom-client';
import type { ErrorCode } from '../errors.ts';
import type { Metrics } from './metrics.ts';

/** From a warm pool's milliseconds to a run that waited in a queue for an hour. */
const START_BUCKETS_SECONDS = [0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 900, 3600];

/** What runners ask of a gateway, and how soon they got their payload. */
export class GatewayMetrics {
  readonly #requests: Counter<'request' | 'outcome'>;
  readonly #startLatency: Histogram<'mode'>;
  readonly #lostLines: Counter;

  constructor(metrics: Metrics) {
    const registers = [metrics.registry];
    this.#requests = new Counter({
      name: 'wormhole_gateway_requests_total',
      help: 'Requests of runners, by what they asked for (claim, report, result) and the error code that they got, or OK.',
      labelNames: ['request', 'outcome'],
      registers,
    });
    this.#startLatency = new Histogram({
      name: 'wormhole_start_latency_seconds',
      help: 'From QUEUED, when the run was submitted, until its payload was handed out, by mode.',
      labelNames: ['mode'],
      buckets: START_BUCKETS_SECONDS,
      registers,
    });
    this.#lostLines = new Counter({
      name: 'wormhole_log_lines_lost_total',
      help: 'Log lines of runs that were not kept: the run logged more than it may, or the log store did not take them.',
      registers,
    });
  }

  /** A request was answered. @param outcome the error's code, or OK. */
  answered(request: string, outcome: ErrorCode | 'OK'): void {
    this.#requests.inc({ request, outcome });
  }

  /** A payload was handed out. @param latencyMs since its run was submitted, in ms. */
  claimed(mode: string, latencyMs: number): void {
    this.#startLatency.observe({ mode }, latencyMs / 1000);
  }

  /** Log lines were lost. */
  linesLost(lines: number): void {
    this.#lostLines.inc(lines);
  }
}
