import { expect, onTestFinished, test } from 'vitest';
import pg from 'pg';
import { newRunId, type RunId } from '../../../controller/model/ids.ts';
import { Notifications } from '../../../controller/store/notifications.ts';
import { ControllerTelemetry } from '../../../controller/telemetry/controller-telemetry.ts';
import { EndedRuns } from '../../../controller/telemetry/ended-runs.ts';
import { Metrics } from '../../../controller/telemetry/metrics.ts';
import { stepTraceparents } from '../../../controller/telemetry/trace-context.ts';
import { cloneDatabase } from '../../support/database.ts';
import { makeTenant } from '../../support/runs.ts';
import { Collector, insertQueued, samplesOf, type ReceivedSpan } from '../../support/telemetry.ts';

const database = await cloneDatabase();
const { pool } = database;
const EPOCH_MS = Date.parse('2026-01-02T03:04:05.000Z');
const CANARY = 'hunter2-canary';
const SUBMITTED_IN = `00-${'4b'.repeat(16)}-${'5c'.repeat(8)}-01`;

/** A controller that leads, and what it sends its spans to. */
async function lead(options: { readonly url?: string } = {}) {
  const metrics = new Metrics({ labelledTenants: 10 });
  const telemetry = new ControllerTelemetry({
    metrics,
    instance: 'here',
    traces: options.url === undefined ? undefined : { url: options.url, headers: { 'x-key': 'k' } },
  });
  const changes = new Notifications(database.url, () => undefined);
  onTestFinished(() => changes.close());
  await changes.start();
  onTestFinished(() => telemetry.close());
  await telemetry.lead({ pool, changes });
  return { metrics, telemetry };
}

async function collect(): Promise<Collector> {
  const collector = await Collector.start();
  onTestFinished(() => collector[Symbol.asyncDispose]());
  return collector;
}

/** Records a run that failed at its second attempt: the first was never claimed, the second ran two steps. */
async function recordRun(traceparent: string | null, runId = newRunId()): Promise<RunId> {
  await makeTenant(pool, 'acme');
  const at = (ms: number): Date => new Date(EPOCH_MS + ms);
  await pool.query(
    `INSERT INTO workflow_runs (id, tenant_id, workflow_version_id, input, output, error, request_digest, timeout_ms,
       limits, traceparent, queued_at, attempt)
     VALUES ($1, 'acme', $1, $2, $2, $2, '', 1000, '{}', $3, $4, 2)`,
    [runId, JSON.stringify(CANARY), traceparent, at(0)],
  );
  await pool.query(
    `INSERT INTO run_attempts (run_id, number, backend, claim_token_hash, created_at, claimed_at, result_at, ended_at, exit_code, reason, message)
     VALUES ($1, 1, 'docker', '', $2, NULL, NULL, $3, NULL, 'IMAGE_PULL_FAILED', $7),
       ($1, 2, 'docker', '', $4, $5, $6, $8, 0, 'STEP_FAILED', $7)`,
    [runId, at(100), at(300), at(1300), at(1600), at(2600), CANARY, at(2700)],
  );
  await pool.query(
    `INSERT INTO step_runs (run_id, attempt, step_key, position, status, tries, output, error, started_at, finished_at)
     VALUES ($1, 2, 'list', 0, 'SUCCESS', 1, $4, NULL, $2, $3), ($1, 2, 'create', 1, 'FAILED', 3, NULL, $5, $3, $6),
       ($1, 2, 'never', 2, 'SKIPPED', 0, NULL, NULL, NULL, NULL)`,
    [
      runId,
      at(1700),
      at(2000),
      { status: 200, body: CANARY },
      { code: 'HTTP_STATUS', status: 500, message: CANARY },
      at(2500),
    ],
  );
  await pool.query(
    `UPDATE workflow_runs SET status = 'FAILED', reason = 'STEP_FAILED', message = $2, finished_at = $3 WHERE id = $1`,
    [runId, CANARY, at(2700)],
  );
  return runId;
}

const PATIENCE = { timeout: 10_000 };

const sampleOf = async (metrics: Metrics, name: string): Promise<number | undefined> =>
  (await samplesOf(metrics)).get(name);

const named = (spans: readonly ReceivedSpan[], name: string, nth = 0): ReceivedSpan =>
  spans.filter((span) => span.name === name)[nth]!;

test('a run that was submitted within a trace is part of it, from submit through queue, start, claim and steps to result', async () => {
  const collector = await collect();
  await lead(collector);
  const runId = await recordRun(SUBMITTED_IN);
  await expect.poll(() => collector.spans.length, PATIENCE).toBe(9);
  const { spans } = collector;
  expect(new Set(spans.map(({ traceId }) => traceId))).toEqual(new Set(['4b'.repeat(16)]));
  expect(new Set(spans.map(({ spanId }) => spanId)).size).toBe(9);

  const run = named(spans, 'workflow run');
  expect(run.parentSpanId).toBe('5c'.repeat(8));
  expect([run.startTimeUnixNano, run.endTimeUnixNano]).toEqual([EPOCH_MS, EPOCH_MS + 2700]);
  expect(run.status).toEqual({ code: 2, message: 'STEP_FAILED' });
  expect(run.attributes).toMatchObject({
    'wormhole.run.id': runId,
    'wormhole.tenant.id': 'acme',
    'wormhole.run.status': 'FAILED',
    'wormhole.run.reason': 'STEP_FAILED',
    'wormhole.run.attempts': 2,
  });

  const queues = [named(spans, 'queue'), named(spans, 'queue', 1)];
  expect(queues.map((span) => span.startTimeUnixNano - EPOCH_MS)).toEqual([0, 300]);
  expect(queues.map((span) => span.endTimeUnixNano - EPOCH_MS)).toEqual([100, 1300]);
  const attempts = [named(spans, 'attempt'), named(spans, 'attempt', 1)];
  expect(attempts.map((span) => span.parentSpanId)).toEqual([run.spanId, run.spanId]);
  expect(attempts.map((span) => span.attributes['wormhole.attempt.reason'])).toEqual([
    'IMAGE_PULL_FAILED',
    'STEP_FAILED',
  ]);
  expect(attempts[1]!.events.map((event) => [event.name, event.timeUnixNano - EPOCH_MS])).toEqual([
    ['claim', 1600],
    ['result', 2600],
  ]);
  const starts = [named(spans, 'start'), named(spans, 'start', 1)];
  expect(starts.map((span) => span.parentSpanId)).toEqual(attempts.map((span) => span.spanId));
  expect(starts.map((span) => span.endTimeUnixNano - EPOCH_MS)).toEqual([300, 1600]);

  const list = named(spans, 'step list');
  const create = named(spans, 'step create');
  expect(list).toMatchObject({ parentSpanId: attempts[1]!.spanId, kind: 3, status: { code: 0 } });
  expect([list.startTimeUnixNano, list.endTimeUnixNano]).toEqual([EPOCH_MS + 1700, EPOCH_MS + 2000]);
  expect(list.attributes['http.response.status_code']).toBe(200);
  expect(create.status).toEqual({ code: 2, message: 'HTTP_STATUS' });
  expect(create.attributes).toMatchObject({
    'wormhole.step.key': 'create',
    'wormhole.step.tries': 3,
    'error.type': 'HTTP_STATUS',
    'http.response.status_code': 500,
  });
  // What the runner sent to the far side is this very span.
  const sent = stepTraceparents({ runId, attempt: 2 }, SUBMITTED_IN, ['list', 'create']);
  expect(sent).toEqual({
    list: `00-${list.traceId}-${list.spanId}-01`,
    create: `00-${create.traceId}-${create.spanId}-01`,
  });

  expect(collector.raw).not.toContain(CANARY);
  expect(collector.raw).toContain('"here"');
  expect(collector.headers[0]).toMatchObject({ 'x-key': 'k' });
});

test('a run that was submitted in no trace is one of its own, with its own id', async () => {
  const collector = await collect();
  await lead(collector);
  const runId = await recordRun(null);
  await expect.poll(() => collector.spans.length, PATIENCE).toBe(9);
  expect(new Set(collector.spans.map(({ traceId }) => traceId))).toEqual(
    new Set([runId.replaceAll('-', '')]),
  );
  expect(named(collector.spans, 'workflow run').parentSpanId).toBeUndefined();
});

test('a trace that nobody records gets no spans; the run is counted all the same', async () => {
  const collector = await collect();
  const { metrics, telemetry } = await lead(collector);
  await recordRun(SUBMITTED_IN.replace(/01$/, '00'));
  await expect.poll(() => sampleOf(metrics, FAILED_STEPS), PATIENCE).toBe(1);
  await telemetry.close();
  expect(collector.requests).toBe(0);
});

const FAILED_STEPS = 'wormhole_runs_total{status="FAILED",reason="STEP_FAILED"}';

test('ends are counted by status and reason, attempts by mode and reason, whoever ends the run', async () => {
  const { metrics, telemetry } = await lead();
  expect((await samplesOf(metrics)).get('wormhole_controller_leading')).toBe(1);
  await recordRun(null);
  const [canceled] = await insertQueued(pool, 'acme', 1);
  await pool.query(
    `UPDATE workflow_runs SET status = 'CANCELED', reason = 'CANCELED', finished_at = now() WHERE id = $1`,
    [canceled],
  );
  await expect
    .poll(() => sampleOf(metrics, 'wormhole_runs_total{status="CANCELED",reason="CANCELED"}'), PATIENCE)
    .toBe(1);
  await telemetry.close();
  const samples = await samplesOf(metrics);
  expect(samples.get(FAILED_STEPS)).toBe(1);
  expect(samples.get('wormhole_runs_total{status="CANCELED",reason="CANCELED"}')).toBe(1);
  expect(samples.get('wormhole_runs_total{status="SUCCESS",reason="NONE"}')).toBe(0);
  expect(samples.get('wormhole_attempts_total{mode="docker",reason="IMAGE_PULL_FAILED"}')).toBe(1);
  expect(samples.get('wormhole_attempts_total{mode="docker",reason="STEP_FAILED"}')).toBe(1);
  expect(samples.get('wormhole_controller_leading')).toBe(0);
  expect(samples.get('wormhole_store_readable')).toBe(0);
});

test('a collector that refuses or is away is counted, and disturbs nobody', async () => {
  const collector = await collect();
  collector.status = 400;
  const refused = await lead(collector);
  const away = await lead({ url: 'http://127.0.0.1:1/v1/traces' });
  await recordRun(null);
  const LOST = 'wormhole_trace_spans_total{outcome="failed"}';
  await expect.poll(() => sampleOf(refused.metrics, LOST), PATIENCE).toBe(9);
  expect((await samplesOf(refused.metrics)).get(FAILED_STEPS)).toBe(1);
  expect((await samplesOf(away.metrics)).get(FAILED_STEPS)).toBe(1);
  const startedAt = performance.now();
  await away.telemetry.close();
  expect(performance.now() - startedAt).toBeLessThan(5_000);
});

test('ends that cannot be read yet are counted when PostgreSQL answers again', async () => {
  const metrics = new Metrics({ labelledTenants: 10 });
  const db = new pg.Pool({ ...database.connection, max: 1 });
  onTestFinished(() => db.end());
  let isAway = true;
  const flaky = {
    query: ((text: string, values: unknown[]) =>
      isAway ? Promise.reject(new Error('away')) : db.query(text, values)) as typeof db.query,
  };
  const ends = new EndedRuns(metrics).follow(flaky);
  const runId = await recordRun(null);
  ends.runEnded(runId);
  ends.runEnded(runId);
  await new Promise((resolve) => setTimeout(resolve, 400));
  expect((await samplesOf(metrics)).get(FAILED_STEPS)).toBe(0);
  isAway = false;
  await expect.poll(() => sampleOf(metrics, FAILED_STEPS), PATIENCE).toBe(1);
  await ends.close();
});
