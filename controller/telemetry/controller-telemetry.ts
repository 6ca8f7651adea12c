import { setTimeout as delay } from 'node:timers/promises';
import { Counter, Gauge } from 'prom-client';
import { isTerminal } from '../model/run-status.ts';
import type { Queryable } from '../store/database.ts';
import type { RunChanges } from '../store/notifications.ts';
import { DispatchMetrics } from './dispatch-metrics.ts';
import type { DispatchObserver } from './dispatch-observer.ts';
import { EndedRuns } from './ended-runs.ts';
import type { Metrics } from './metrics.ts';
import { WorkloadMetrics } from './workload-metrics.ts';

export interface ControllerTelemetryOptions {
  readonly metrics: Metrics;
  /** The platform instance. */
  readonly instance: string;
  /** Where traces go; undefined: nowhere. */
  readonly traces: TraceTarget | undefined;
}

/** An OTLP collector. */
export interface TraceTarget {
  /** Where spans are posted. */
  readonly url: string;
  /** Sent with every request; may hold a credential. */
  readonly headers: Readonly<Record<string, string>>;
}

/** What waits to be counted and sent has this long at the end. */
const CLOSE_TIMEOUT_MS = 3_000;

/** What a controller, leading or standing by, measures, counts and traces. */
export class ControllerTelemetry {
  /** What dispatch tells of itself. */
  readonly observer: DispatchObserver;
  readonly #options: ControllerTelemetryOptions;
  readonly #workload: WorkloadMetrics;
  readonly #ended: EndedRuns;
  readonly #leading: Gauge;
  readonly #spans: Counter<'outcome'>;
  #led: AsyncDisposableStack | undefined;

  constructor(options: ControllerTelemetryOptions) {
    const { metrics } = options;
    const registers = [metrics.registry];
    this.#options = options;
    this.observer = new DispatchMetrics(metrics);
    this.#workload = new WorkloadMetrics(metrics);
    this.#ended = new EndedRuns(metrics);
    this.#leading = new Gauge({
      name: 'wormhole_controller_leading',
      help: 'Whether this controller leads its instance (1) or stands by (0).',
      registers,
    });
    this.#spans = new Counter({
      name: 'wormhole_trace_spans_total',
      help: 'Spans that were sent to the trace collector, by outcome.',
      labelNames: ['outcome'],
      registers,
    });
  }

  /**
   * This controller leads from now on: reads PostgreSQL whenever metrics are read, and follows the ends of all runs,
   * whoever ends them.
   */
  async lead(parts: { readonly pool: Queryable; readonly changes: RunChanges }): Promise<void> {
    const { pool, changes } = parts;
    await using opened = new AsyncDisposableStack();
    const spans = await this.#openSpans();
    opened.defer(() => spans?.close());
    const ends = this.#ended.follow(pool, spans && ((run) => spans.add(run)));
    opened.defer(() => ends.close());
    const endListening = changes.listen({
      runs: ({ runId, status }) => {
        if (isTerminal(status)) ends.runEnded(runId);
      },
    });
    opened.defer(endListening);
    opened.defer(this.#workload.follow(pool));
    this.#leading.set(1);
    opened.defer(() => this.#leading.set(0));
    this.#led = opened.move();
  }

  /** This controller does not lead any more, if it did. What waits is counted and sent, for a moment; never throws. */
  async close(): Promise<void> {
    const led = this.#led;
    this.#led = undefined;
    if (led === undefined) return;
    const given = new AbortController();
    // PostgreSQL or a collector that is away is no reason not to end.
    await Promise.race([
      led.disposeAsync().catch(() => undefined),
      delay(CLOSE_TIMEOUT_MS, undefined, { signal: given.signal }).catch(() => undefined),
    ]);
    given.abort();
  }

  async #openSpans() {
    const { traces, instance } = this.#options;
    if (traces === undefined) return undefined;
    // Loaded only where there is a collector.
    const { SpanExport } = await import('./span-export.ts');
    return new SpanExport({
      ...traces,
      instance,
      onExported: (spans, outcome) => this.#spans.inc({ outcome }, spans),
    });
  }
}
