import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WormholeError } from '../../../controller/errors.ts';
import { claimConnections } from '../../../controller/gateway/claim-connections.ts';
import { Gateway } from '../../../controller/gateway/gateway.ts';
import { Reports } from '../../../controller/gateway/report.ts';
import { hashToken } from '../../../controller/gateway/tokens.ts';
import type { AttemptRef } from '../../../controller/model/ids.ts';
import { LIMITS } from '../../../controller/model/limits.ts';
import { KeyRing } from '../../../controller/secrets/cipher.ts';
import { sealCredentials } from '../../../controller/secrets/sealed.ts';
import { findByReportToken } from '../../../controller/store/attempts.ts';
import { upsertConnection } from '../../../controller/store/connections.ts';
import { transaction } from '../../../controller/store/database.ts';
import { PostgresLogStore } from '../../../controller/store/logs/postgres.ts';
import { finishRun, requestCancel } from '../../../controller/store/run-transitions.ts';
import { findRun } from '../../../controller/store/runs.ts';
import { admit } from '../../support/admit.ts';
import { cloneDatabase } from '../../support/database.ts';
import { makeTenant, oneStep, queueRun } from '../../support/runs.ts';

const { pool } = await cloneDatabase();
const keys = KeyRing.parse(`k1:${Buffer.alloc(32, 7).toString('base64')}`);
const logs = new PostgresLogStore(pool);
const lost: number[] = [];
const log = pino({ level: 'silent' });
const gateway = new Gateway(
  {
    pool,
    connections: claimConnections({
      pool,
      keys,
      log,
      resolve: (ref, stored) => {
        if (stored.kind !== 'OAUTH2') return Promise.resolve(stored);
        if (ref.key === 'drive') return Promise.reject(new Error('the token endpoint said: hunter2'));
        const message = 'connection "refused" of tenant "acme": its token endpoint answered 400';
        return Promise.reject(new WormholeError('CREDENTIALS_UNAVAILABLE', message));
      },
    }),
    egress: () => Promise.resolve({ proxyUrl: 'unix:/run/wormhole/egress.sock', grant: 'a-grant' }),
  },
  new Reports(pool, logs, (_ref, count) => lost.push(count)),
  log,
);
const closers: (() => Promise<void>)[] = [];
let folder: string;
let sockets = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wh-gw-'));
  const tenantId = await makeTenant(pool, 'acme', { maxConcurrent: 1000 });
  await makeTenant(pool, 'other', { maxConcurrent: 1000 });
  const basic = { kind: 'BASIC', username: 'u', password: 'p4ssw0rd' } as const;
  await upsertConnection(pool, tenantId, {
    key: 'crm',
    kind: 'BASIC',
    sealed: sealCredentials(keys, { tenantId, key: 'crm' }, basic),
  });
  const oauth2 = {
    kind: 'OAUTH2',
    tokenUrl: 'https://x.example/t',
    clientId: 'c',
    clientSecret: 's3cret',
  } as const;
  for (const key of ['drive', 'refused']) {
    const sealed = sealCredentials(keys, { tenantId, key }, oauth2);
    await upsertConnection(pool, tenantId, { key, kind: 'OAUTH2', sealed });
  }
});

afterAll(async () => {
  await Promise.all(closers.map((close) => close()));
  await gateway.close();
  await rm(folder, { recursive: true, force: true });
});

interface Answer {
  readonly status: number;
  readonly body: {
    readonly reportToken?: string;
    readonly deadlineMs?: number;
    readonly connections?: Readonly<Record<string, unknown>>;
  };
}

async function post(
  socketPath: string,
  path: string,
  token: string | undefined,
  body: unknown,
  signal?: AbortSignal,
): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const sent = request(
      {
        socketPath,
        path,
        method: 'POST',
        agent: false,
        ...(signal !== undefined && { signal }),
        headers: {
          'content-type': 'application/json',
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          resolve({
            status: response.statusCode ?? 0,
            body: JSON.parse(Buffer.concat(chunks).toString('utf8')) as Answer['body'],
          });
        });
      },
    );
    sent.on('error', reject);
    sent.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
}

/** @returns how many connections of this database wait for a lock. */
async function blocked(): Promise<number | undefined> {
  const { rows } = await pool.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
  );
  return rows[0]?.n;
}

interface Started extends AttemptRef {
  readonly socketPath: string;
  readonly claimToken: string;
}

/** A run in STARTING, and its socket. */
async function start(definition: unknown = oneStep(), input: unknown = { n: 1 }): Promise<Started> {
  const runId = await queueRun(pool, 'acme', { definition, input });
  const claimToken = `claim-${runId}`;
  expect((await admit(pool, 'acme', hashToken(claimToken))).runId).toBe(runId);
  const socketPath = join(folder, `${(sockets += 1)}.sock`);
  closers.push(await gateway.listenOn(socketPath, { runId, attempt: 1 }));
  return { runId, attempt: 1, socketPath, claimToken };
}

const claim = (run: Started, token = run.claimToken) =>
  post(run.socketPath, '/v1/claim', token, { runnerVersion: '0.1.0' });

async function claimed(definition?: unknown): Promise<Started & { readonly token: string }> {
  const run = await start(definition);
  const { body } = await claim(run);
  return { ...run, token: body.reportToken ?? '' };
}

const twoSteps = { ...oneStep(), steps: ['first', 'second'].map((key) => ({ ...oneStep().steps[0], key })) };

describe('claim', () => {
  test('answers once, with the payload and all defaults; the next is refused', async () => {
    const run = await start();
    const first = await claim(run);
    expect(first.status).toBe(200);
    expect(first.body).toMatchObject({
      run: { id: run.runId, attempt: 1, tenantId: 'acme' },
      input: { n: 1 },
      definition: { steps: [{ key: 'call', continueOnError: false, action: { timeoutMs: 30_000 } }] },
      egress: { grant: 'a-grant' },
      limits: { outputBytes: LIMITS.outputBytes },
    });
    expect(first.body.deadlineMs).toBeGreaterThan(1000);
    expect(await claim(run)).toMatchObject({ status: 409, body: { error: { code: 'CLAIM_REFUSED' } } });
    expect((await findRun(pool, run.runId))?.status).toBe('RUNNING');
  });

  test('hands over only the connections that the definition names, and says which are unavailable without saying why in secrets', async () => {
    const uses = (connection: string) => ({
      ...oneStep().steps[0],
      key: connection,
      action: { ...oneStep().steps[0]?.action, auth: { connection } },
    });
    const run = await start({ ...oneStep(), steps: ['crm', 'drive', 'refused', 'missing'].map(uses) });
    const { body } = await claim(run);
    expect(body.connections?.['crm']).toEqual({ kind: 'BASIC', username: 'u', password: 'p4ssw0rd' });
    expect(body.connections?.['drive']).toEqual({
      kind: 'UNAVAILABLE',
      message: 'connection "drive" of tenant "acme" cannot be opened',
    });
    expect(body.connections?.['refused']).toEqual({
      kind: 'UNAVAILABLE',
      message: 'connection "refused" of tenant "acme": its token endpoint answered 400',
    });
    expect(body.connections?.['missing']).toMatchObject({
      kind: 'UNAVAILABLE',
      message: expect.stringContaining('missing') as unknown,
    });
    expect(JSON.stringify(body)).not.toMatch(/s3cret|hunter2/);
    const plain = await claim(await start());
    expect(plain.body.connections).toEqual({});
  });

  test('is refused without a token, with a wrong one, and with another run’s on this run’s socket', async () => {
    const [mine, theirs] = [await start(), await start()];
    expect(await post(mine.socketPath, '/v1/claim', undefined, { runnerVersion: '1' })).toMatchObject({
      status: 401,
    });
    expect(await claim(mine, 'wrong')).toMatchObject({ status: 409 });
    expect(await claim(mine, theirs.claimToken)).toMatchObject({ status: 409 });
    expect((await claim(theirs)).status).toBe(200);
    expect((await claim(mine)).status).toBe(200);
  });
});

describe('report', () => {
  test('records steps and logs; the same batch again changes nothing', async () => {
    const run = await claimed(twoSteps);
    const batch = {
      sequence: 1,
      steps: [
        { key: 'first', status: 'RUNNING', startedAt: '2026-01-01T00:00:00.000Z' },
        {
          key: 'first',
          status: 'SUCCESS',
          startedAt: '2026-01-01T00:00:00.000Z',
          finishedAt: '2026-01-01T00:00:01.000Z',
          tries: 2,
          output: { status: 200, body: 'x\u0000y\ud800' },
        },
        { key: 'second', status: 'RUNNING', startedAt: '2026-01-01T00:00:01.000Z' },
      ],
      logs: [
        {
          sequence: 1,
          timestamp: '2026-01-01T00:00:00.500Z',
          level: 'INFO',
          stepKey: 'first',
          message: 'hello\u0000',
        },
      ],
    };
    for (let again = 0; again < 3; again += 1) {
      expect(await post(run.socketPath, '/v1/report', run.token, batch)).toEqual({
        status: 200,
        body: { cancel: null },
      });
    }
    const detail = await findRun(pool, run.runId);
    expect(detail?.steps).toMatchObject([
      { key: 'first', status: 'SUCCESS', tries: 2, output: { status: 200, body: 'x\ufffdy\ufffd' } },
      { key: 'second', status: 'RUNNING' },
    ]);
    const page = await logs.read({ tenantId: detail!.tenantId, runId: run.runId });
    expect(page.entries.map(({ message }) => message)).toEqual(['hello\ufffd']);
  });

  test('never changes how a step ended, and drops steps that the definition lacks', async () => {
    const run = await claimed();
    await post(run.socketPath, '/v1/report', run.token, {
      sequence: 1,
      steps: [{ key: 'call', status: 'SUCCESS' }],
    });
    await post(run.socketPath, '/v1/report', run.token, {
      sequence: 2,
      steps: [
        { key: 'call', status: 'FAILED' },
        { key: 'ghost', status: 'SUCCESS' },
      ],
    });
    expect((await findRun(pool, run.runId))?.steps).toMatchObject([{ key: 'call', status: 'SUCCESS' }]);
  });

  test('refuses a gap, a body that is wrong or too large, a wrong token, and a run of its own token elsewhere', async () => {
    const [run, other] = [await claimed(), await claimed()];
    const report = (token: string | undefined, body: unknown) =>
      post(run.socketPath, '/v1/report', token, body);
    expect(await report(run.token, { sequence: 2 })).toMatchObject({
      status: 400,
      body: { error: { code: 'PAYLOAD_INVALID' } },
    });
    expect(await report(run.token, { sequence: 'x' })).toMatchObject({ status: 400 });
    expect(await report(run.token, '{"sequence": 1, "steps": [')).toMatchObject({ status: 400 });
    expect(await report(run.token, '{"__proto__": {"sequence": 1}}')).toMatchObject({ status: 400 });
    expect(await report(run.token, 'x'.repeat(LIMITS.gatewayBodyBytes + 1))).toMatchObject({ status: 413 });
    expect(await report('wrong', { sequence: 1 })).toMatchObject({ status: 401 });
    expect(await report(other.token, { sequence: 1 })).toMatchObject({ status: 401 });
    expect(await report(run.token, { sequence: 1 })).toMatchObject({ status: 200 });
  });

  test('truncates what is too large and counts what is lost, instead of failing', async () => {
    const run = await claimed();
    const answer = await post(run.socketPath, '/v1/report', run.token, {
      sequence: 1,
      steps: [{ key: 'call', status: 'SUCCESS', output: 'x'.repeat(LIMITS.outputBytes + 1) }],
      logs: [
        {
          sequence: 1,
          timestamp: new Date().toISOString(),
          level: 'INFO',
          message: 'é'.repeat(LIMITS.logMessageBytes),
        },
      ],
      droppedLogs: 5,
    });
    expect(answer.status).toBe(200);
    const detail = await findRun(pool, run.runId);
    expect(detail?.steps[0]?.output).toMatchObject({ truncated: true });
    const page = await logs.read({ tenantId: detail!.tenantId, runId: run.runId });
    expect(Buffer.byteLength(page.entries[0]?.message ?? '')).toBeLessThan(LIMITS.logMessageBytes + 100);
    expect(lost).toContain(5);
  });

  test('keeps no more log lines of an attempt than it may write, and tells that once', async () => {
    const run = await claimed();
    const line = { timestamp: new Date().toISOString(), level: 'INFO', message: 'x'.repeat(8000) };
    const lines = (sequence: number, count: number) =>
      Array.from({ length: count }, (_, i) => ({ ...line, sequence: sequence * 1000 + i }));
    const lostBefore = lost.length;
    for (let sequence = 1; sequence <= 5; sequence += 1) {
      const batch = { sequence, logs: lines(sequence, 200) };
      expect((await post(run.socketPath, '/v1/report', run.token, batch)).status).toBe(200);
    }
    // The smallest lines count too, and a batch that is sent again does not.
    const empty = Array.from({ length: 100 }, (_, i) => ({ ...line, message: '', sequence: 9000 + i }));
    for (const again of [1, 2]) {
      const answer = await post(run.socketPath, '/v1/report', run.token, { sequence: 6, logs: empty });
      expect({ again, ...answer }).toMatchObject({ again, status: 200 });
    }
    const { rows } = await pool.query<{ lines: number; last: number }>(
      `SELECT count(*)::int AS lines, max(sequence)::int AS last FROM execution_logs WHERE run_id = $1`,
      [run.runId],
    );
    const allowed = Math.floor(LIMITS.logBytesPerRun / (8000 + 64));
    expect(rows[0]).toEqual({ lines: allowed, last: 3000 + (allowed - 400) - 1 });
    expect(lost.slice(lostBefore)).toEqual([600 - allowed]);
    const attempt = await findByReportToken(pool, run, hashToken(run.token), null);
    expect(attempt?.logBytes).toBe(1000 * (8000 + 64) + 100 * 64);
  });

  test('serves an attempt one request at a time, also when its runner hangs up, and other attempts meanwhile', async () => {
    const [run, other] = [await claimed(), await claimed()];
    await transaction(pool, async (client) => {
      // A report waits for its attempt's row.
      await client.query('SELECT 1 FROM run_attempts WHERE run_id = $1 FOR UPDATE', [run.runId]);
      const hungUp = new AbortController();
      const first = post(run.socketPath, '/v1/report', run.token, { sequence: 1 }, hungUp.signal);
      await expect.poll(blocked).toBe(1);
      hungUp.abort();
      await expect(first).rejects.toThrow();
      const queued = [2, 3, 4].map(() => post(run.socketPath, '/v1/report', run.token, { sequence: 1 }));
      const answered = Promise.all(queued);
      const gone = new AbortController();
      const left = post(run.socketPath, '/v1/report', run.token, { sequence: 1 }, gone.signal);
      expect((await post(other.socketPath, '/v1/report', other.token, { sequence: 1 })).status).toBe(200);
      expect(await blocked()).toBe(1);
      gone.abort();
      await expect(left).rejects.toThrow();
      return { answered };
    }).then(async ({ answered }) => {
      expect((await answered).map(({ status }) => status)).toEqual([200, 200, 200]);
    });
    expect((await post(run.socketPath, '/v1/report', run.token, { sequence: 2 })).status).toBe(200);
  });

  test('keeps what a far side named "__proto__" or "constructor" as data', async () => {
    const run = await claimed();
    const hostile = '{"__proto__": {"polluted": 1}, "constructor": {"prototype": {"polluted": 2}}}';
    const report = `{"sequence": 1, "steps": [{"key": "call", "status": "SUCCESS", "output": ${hostile}}]}`;
    expect(await post(run.socketPath, '/v1/report', run.token, report)).toMatchObject({ status: 200 });
    const result = `{"status": "SUCCESS", "output": ${hostile}}`;
    expect(await post(run.socketPath, '/v1/result', run.token, result)).toMatchObject({ status: 200 });
    const { rows } = await pool.query<{ step: string; result: string }>(
      `SELECT s.output::text AS step, (a.result -> 'output')::text AS result
       FROM step_runs s JOIN run_attempts a ON a.run_id = s.run_id AND a.number = s.attempt WHERE s.run_id = $1`,
      [run.runId],
    );
    for (const stored of [rows[0]?.step, rows[0]?.result]) {
      expect(stored).toContain('"__proto__": {"polluted": 1}');
      expect(stored).toContain('"prototype": {"polluted": 2}');
    }
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect('polluted' in {}).toBe(false);
  });

  test('tells the runner to stop once the run is to be canceled, and that the attempt has ended', async () => {
    const run = await claimed();
    await requestCancel(pool, run.runId);
    expect((await post(run.socketPath, '/v1/report', run.token, { sequence: 1 })).body).toEqual({
      cancel: 'CANCELED',
    });
    await finishRun(
      pool,
      run,
      { status: 'CANCELED', reason: 'CANCELED', message: '', infrastructure: false },
      null,
    );
    expect(await post(run.socketPath, '/v1/report', run.token, { sequence: 2 })).toMatchObject({
      status: 410,
      body: { error: { code: 'ATTEMPT_ENDED' } },
    });
  });
});

describe('result', () => {
  test('is the last word: a second one changes nothing, and reports end', async () => {
    const run = await claimed();
    const result = (body: unknown) => post(run.socketPath, '/v1/result', run.token, body);
    expect(await result({ status: 'SUCCESS', output: { total: 1 } })).toEqual({ status: 200, body: {} });
    expect((await result({ status: 'FAILED', reason: 'STEP_FAILED', message: 'late' })).status).toBe(200);
    expect(await post(run.socketPath, '/v1/report', run.token, { sequence: 1 })).toMatchObject({
      status: 410,
    });
    await finishRun(
      pool,
      run,
      { status: 'SUCCESS', reason: null, message: null, infrastructure: false },
      null,
    );
    expect(await findRun(pool, run.runId)).toMatchObject({ status: 'SUCCESS', output: { total: 1 } });
    expect(await result({ status: 'SUCCESS' })).toMatchObject({ status: 410 });
  });

  test('cannot claim a reason that only the platform may give', async () => {
    const run = await claimed();
    for (const body of [
      { status: 'FAILED', reason: 'EVICTED' },
      { status: 'FAILED' },
      { status: 'RUNNING' },
      { status: 'TIMEOUT', reason: 'STEP_FAILED' },
    ]) {
      expect(await post(run.socketPath, '/v1/result', run.token, body)).toMatchObject({ status: 400 });
    }
  });
});
