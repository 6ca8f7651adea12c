import { readFileSync } from 'node:fs';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, type SpanExporter } from '@opentelemetry/sdk-trace';
import type { EndedRun } from './ended-run.ts';
import { spansOf } from './run-spans.ts';

export interface SpanExportOptions {
  /** Where spans are posted, OTLP over HTTP as JSON. */
  readonly url: string;
  /** Sent with every request; may hold a credential. */
  readonly headers: Readonly<Record<string, string>>;
  /** The platform instance. */
  readonly instance: string;
  /** Told how many spans arrived, or did not. */
  readonly onExported: (spans: number, outcome: 'delivered' | 'failed') => void;
}

/** Spans that wait; those that come while it is full are dropped. */
const QUEUED_SPANS = 8_192;
const BATCH_SPANS = 512;
const BATCH_DELAY_MS = 1_000;
const EXPORT_TIMEOUT_MS = 10_000;
/** `ExportResultCode.SUCCESS`. */
const DELIVERED = 0;

/** Sends the spans of runs that have ended, in batches, when it can: nobody waits for it, and what fails is counted. */
export class SpanExport {
  readonly #processor: BatchSpanProcessor;
  readonly #origin: Parameters<typeof spansOf>[1];

  constructor(options: SpanExportOptions) {
    const exporter = new OTLPTraceExporter({
      url: options.url,
      headers: { ...options.headers },
      timeoutMillis: EXPORT_TIMEOUT_MS,
      concurrencyLimit: 1,
    });
    this.#processor = new BatchSpanProcessor({
      exporter: counted(exporter, options.onExported),
      maxQueueSize: QUEUED_SPANS,
      maxExportBatchSize: BATCH_SPANS,
      scheduledDelayMillis: BATCH_DELAY_MS,
      exportTimeoutMillis: EXPORT_TIMEOUT_MS,
    });
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      readonly version: string;
    };
    this.#origin = {
      resource: resourceFromAttributes({
        'service.name': 'wormhole',
        'service.version': version,
        'service.instance.id': options.instance,
      }),
      instrumentationScope: { name: 'wormhole', version },
    };
  }

  /** Has the run's spans sent. Returns at once, and never throws. */
  add(run: EndedRun): void {
    for (const span of spansOf(run, this.#origin)) this.#processor.onEnd(span);
  }

  /** Sends what waits, and ends. */
  async close(): Promise<void> {
    await this.#processor.shutdown();
  }
}

const counted = (exporter: SpanExporter, onExported: SpanExportOptions['onExported']): SpanExporter => ({
  export: (spans, done) => {
    exporter.export(spans, (result) => {
      onExported(spans.length, (result.code as number) === DELIVERED ? 'delivered' : 'failed');
      done(result);
    });
  },
  shutdown: () => exporter.shutdown(),
  ...(exporter.forceFlush !== undefined && {
    forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
  }),
});
