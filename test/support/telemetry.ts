import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import type pg from 'pg';
import { z } from 'zod';
import { newRunId, type RunId } from '../../controller/model/ids.ts';
import type { Metrics } from '../../controller/telemetry/metrics.ts';

/** @returns the samples of a reading, by name and labels as they are written. */
export async function samplesOf(metrics: Metrics): Promise<Map<string, number>> {
  return parseSamples((await metrics.read()).text);
}

/** @returns the samples of an exposition, by name and labels as they are written. */
export const parseSamples = (text: string): Map<string, number> =>
  new Map(
    text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  );

/** Inserts QUEUED runs, as they are when they were submitted `secondsAgo`. */
export async function insertQueued(
  pool: pg.Pool,
  tenantId: string,
  runs: number,
  secondsAgo = 0,
): Promise<RunId[]> {
  const ids = Array.from({ length: runs }, newRunId);
  await pool.query(
    `INSERT INTO workflow_runs (id, tenant_id, workflow_version_id, input, request_digest, timeout_ms, limits, queued_at)
     SELECT id, $2, id, 'null', '', 1000, '{}', clock_timestamp() - $3 * interval '1 second' FROM unnest($1::uuid[]) AS id`,
    [ids, tenantId, secondsAgo],
  );
  return ids;
}

const value = z.object({
  stringValue: z.string().optional(),
  intValue: z.number().optional(),
  doubleValue: z.number().optional(),
  boolValue: z.boolean().optional(),
});
const attributes = z
  .array(z.object({ key: z.string(), value }))
  .transform((list) => Object.fromEntries(list.map((one) => [one.key, Object.values(one.value)[0]])));
const nanos = z.union([z.string(), z.number()]).transform((text) => Number(BigInt(text) / 1_000_000n));
const spanSchema = z.object({
  traceId: z.string(),
  spanId: z.string(),
  parentSpanId: z.string().optional(),
  name: z.string(),
  kind: z.number(),
  startTimeUnixNano: nanos,
  endTimeUnixNano: nanos,
  attributes,
  events: z.array(z.object({ name: z.string(), timeUnixNano: nanos })).default([]),
  status: z.object({ code: z.number().default(0), message: z.string().optional() }).default({ code: 0 }),
});
const requestSchema = z.object({
  resourceSpans: z.array(
    z.object({
      resource: z.object({ attributes }),
      scopeSpans: z.array(z.object({ spans: z.array(spanSchema) })),
    }),
  ),
});
/** A span as it arrived; its times are in ms since the epoch. */
export type ReceivedSpan = z.infer<typeof spanSchema>;

/** An OTLP/HTTP collector on loopback, which takes traces as JSON (https://opentelemetry.io/docs/specs/otlp/#otlphttp). */
export class Collector implements AsyncDisposable {
  readonly spans: ReceivedSpan[] = [];
  /** Everything that arrived, as text. */
  raw = '';
  readonly headers: Record<string, unknown>[] = [];
  /** What it answers. */
  status = 200;
  requests = 0;
  readonly #server = createServer((request, response) => {
    void json(request).then((body) => {
      this.requests += 1;
      if (this.status === 200 && request.url === '/v1/traces') {
        this.raw += JSON.stringify(body);
        this.headers.push(request.headers);
        for (const { scopeSpans } of requestSchema.parse(body).resourceSpans) {
          this.spans.push(...scopeSpans.flatMap(({ spans }) => spans));
        }
      }
      response.writeHead(this.status, { 'content-type': 'application/json' }).end('{}');
    });
  });

  /** Starts it. */
  static async start(): Promise<Collector> {
    const collector = new Collector();
    await once(collector.#server.listen(0, '127.0.0.1'), 'listening');
    return collector;
  }

  /** Where it takes spans. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1/traces`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
