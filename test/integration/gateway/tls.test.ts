import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { Agent, request } from 'node:https';
import { connect as connectTcp, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { messageOf } from '../../../controller/errors.ts';
import { ClusterKeys } from '../../../controller/gateway/cluster-keys.ts';
import type { Gateway } from '../../../controller/gateway/gateway.ts';
import { PodIdentities } from '../../../controller/gateway/pod-identity.ts';
import { TlsCredentials } from '../../../controller/gateway/tls-credentials.ts';
import type { TlsListener } from '../../../controller/gateway/tls-listener.ts';
import { hashToken } from '../../../controller/gateway/tokens.ts';
import type { AttemptRef } from '../../../controller/model/ids.ts';
import { openEgressProxy } from '../../../controller/open-egress-proxy.ts';
import { openGateway } from '../../../controller/open-gateway.ts';
import { KeyRing } from '../../../controller/secrets/cipher.ts';
import {
  issueServerCertificate,
  makeAuthority,
  type Authority,
  type ServerCertificate,
} from '../../../controller/setup/certificates.ts';
import { transaction } from '../../../controller/store/database.ts';
import { PostgresLogStore } from '../../../controller/store/logs/postgres.ts';
import { findRun } from '../../../controller/store/runs.ts';
import { ensurePythonEnv } from '../../../scripts/python-env.mjs';
import { admit } from '../../support/admit.ts';
import { cloneDatabase } from '../../support/database.ts';
import { describeWith, type Requirement } from '../../support/requires.ts';
import { makeTenant, oneStep, queueRun } from '../../support/runs.ts';
import { SecretVolume } from '../../support/secret-volume.ts';
import { POD_RULES, ServiceAccounts } from '../../support/service-accounts.ts';

const FAR_SIDE = 'far-side.example.test';
const RUNNER_SOURCE = join(import.meta.dirname, '../../../runner/src');
const RUNNER = `import sys; sys.path.insert(0, ${JSON.stringify(RUNNER_SOURCE)}); import runpy; runpy.run_module('wormhole_runner', run_name='__main__')`;

/** The interpreter of the tests, with what the runner needs. */
const python: Requirement<string> = async () => {
  try {
    return { value: (await ensurePythonEnv(() => undefined)).python };
  } catch (error) {
    return { missing: messageOf(error) };
  }
};

const { pool } = await cloneDatabase();
const cleanups: (() => unknown)[] = [];
const logged: string[] = [];
const log = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) });
const server = { names: ['localhost'], addresses: ['127.0.0.1'], days: 1 };
const filesOf = ({ cert, key }: ServerCertificate) => ({ 'tls.crt': cert, 'tls.key': key });

let accounts: ServiceAccounts;
let authority: Authority;
let volume: SecretVolume;
let credentials: TlsCredentials;
let gateway: Gateway;
let listener: TlsListener;

beforeAll(async () => {
  accounts = await ServiceAccounts.start();
  authority = await makeAuthority({ days: 1 });
  volume = await SecretVolume.mount(filesOf(await issueServerCertificate(authority, server)));
  cleanups.push(() => volume.unmount());
  const files = { certFile: volume.path('tls.crt'), keyFile: volume.path('tls.key') };
  credentials = await TlsCredentials.open(files, { log, checkIntervalMs: 20 });
  cleanups.push(() => credentials.close());

  const farSide = createServer((_request, response) => response.end('{"x": 1}'));
  await once(farSide.listen(0, '127.0.0.1'), 'listening');
  cleanups.push(() => farSide.close());
  const internalServices = [
    { host: FAR_SIDE, port: 80, address: '127.0.0.1', targetPort: (farSide.address() as AddressInfo).port },
  ];
  const grantKey = Buffer.alloc(32, 9);
  const proxy = await openEgressProxy({ grantKey, internalServices, log }).listenOnTcp('127.0.0.1', 0);
  cleanups.push(() => proxy.close());
  const keys = KeyRing.parse(`k1:${Buffer.alloc(32, 7).toString('base64')}`);
  const logs = new PostgresLogStore(pool);
  const egressProxyUrl = `http://127.0.0.1:${proxy.port}`;
  gateway = openGateway({ pool, keys, grantKey, egressProxyUrl, logs, internalServices, log });
  cleanups.push(() => gateway.close());
  listener = await listen();
  cleanups.push(() => listener.close({ drainMs: 0 }));

  const egress = { mode: 'allowlist' as const, allow: [{ host: FAR_SIDE, ports: [80] }] };
  await makeTenant(pool, 'acme', { maxConcurrent: 1000, egress });
  await makeTenant(pool, 'other', { maxConcurrent: 1000, egress });
});

afterAll(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup();
});

const listen = (): Promise<TlsListener> => {
  const pods = new PodIdentities(new ClusterKeys({ fetch: accounts.fetch, log }), POD_RULES);
  const authenticate = (token: string) => pods.verify(token);
  return gateway.listenOnTls({ host: '127.0.0.1', port: 0, credentials, authenticate });
};

interface Started extends AttemptRef {
  readonly podToken: string;
  readonly uid: string;
}

/** A run in STARTING that no token claims, and its pod's token. */
async function start(tenantId = 'acme'): Promise<Started> {
  const runId = await queueRun(pool, tenantId, { definition: oneStep(`http://${FAR_SIDE}/a`) });
  expect((await admit(pool, tenantId, null)).runId).toBe(runId);
  const uid = `uid-of-${runId}`;
  return { runId, attempt: 1, uid, podToken: await accounts.token({ runId, attempt: 1, tenantId, uid }) };
}

interface Answer {
  readonly status: number;
  readonly connection: string | undefined;
  readonly body: {
    readonly reportToken?: string;
    readonly error?: { readonly code: string; readonly message: string };
  };
}

interface Sent {
  readonly podToken?: string;
  readonly token?: string;
  readonly agent?: Agent;
  readonly headers?: Readonly<Record<string, string>>;
  readonly port?: number;
}

async function post(path: string, body: unknown, sent: Sent): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const { podToken, token, agent = false, headers, port = listener.port } = sent;
    const outgoing = request(
      {
        host: 'localhost',
        port,
        path,
        method: 'POST',
        ca: authority.cert,
        agent,
        headers: {
          'content-type': 'application/json',
          ...(podToken !== undefined && { 'wormhole-pod-token': podToken }),
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
          ...headers,
        },
      },
      (response) => {
        text(response).then((content) => {
          const { connection } = response.headers;
          resolve({
            status: response.statusCode ?? 0,
            connection,
            body: (content === '' ? {} : JSON.parse(content)) as Answer['body'],
          });
        }, reject);
      },
    );
    outgoing.on('error', reject);
    outgoing.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
}

const claim = (sent: Sent) => post('/v1/claim', { runnerVersion: '0.1.0' }, sent);

async function claimed(): Promise<Started & { readonly token: string }> {
  const run = await start();
  const { body } = await claim(run);
  return { ...run, token: body.reportToken ?? '' };
}

const refusedWith = (status: number, code: string) => ({ status, body: { error: { code } } });

describeWith('a real runner', python, (interpreter) => {
  /** Runs it as the run's pod, which trusts `ca`. @returns how it ended and what it wrote to standard error. */
  async function runAs(run: Started, ca: string): Promise<{ code: number | null; errors: string }> {
    const folder = await mkdtemp(join(tmpdir(), 'wh-tls-'));
    try {
      const tokenFile = join(folder, 'token');
      await writeFile(tokenFile, run.podToken);
      const runner = spawn(interpreter, ['-I', '-c', RUNNER], {
        env: {
          WORMHOLE_GATEWAY_URL: `https://localhost:${listener.port}`,
          WORMHOLE_GATEWAY_CA: ca,
          WORMHOLE_CLAIM_TOKEN_FILE: tokenFile,
        },
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      const [errors] = await Promise.all([text(runner.stderr), once(runner, 'exit')]);
      return { code: runner.exitCode, errors };
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  test('that trusts two authorities runs before and after the gateway changes from one to the other', async () => {
    const before = await issueServerCertificate(authority, server);
    const next = await issueServerCertificate(await makeAuthority({ days: 1 }), server);
    const both = next.ca + before.ca;
    try {
      expect(await runAs(await start(), both)).toEqual({ code: 0, errors: '' });
      await volume.update(filesOf(next));
      await expect.poll(() => credentials.current.cert).toBe(next.cert);
      expect(await runAs(await start(), both)).toEqual({ code: 0, errors: '' });
    } finally {
      await volume.update(filesOf(before));
      await expect.poll(() => credentials.current.cert).toBe(before.cert);
    }
  });

  test('claims as its pod and once, runs through the proxy, and delivers its result', async () => {
    const run = await start();
    expect(await runAs(run, authority.cert)).toEqual({ code: 0, errors: '' });
    const detail = await findRun(pool, run.runId);
    expect(detail).toMatchObject({ status: 'RUNNING', steps: [{ key: 'call', status: 'SUCCESS' }] });
    const { rows } = await pool.query<{ claimed_by: string; result: unknown }>(
      'SELECT claimed_by, result FROM run_attempts WHERE run_id = $1',
      [run.runId],
    );
    expect(rows).toMatchObject([{ claimed_by: run.uid, result: { status: 'SUCCESS' } }]);
    expect(await claim(run)).toMatchObject(refusedWith(409, 'CLAIM_REFUSED'));
    const decision = logged.map((line) => JSON.parse(line) as { msg: string; runId?: string; host?: string });
    expect(
      decision.filter(({ msg, runId }) => msg === 'egress allowed' && runId === run.runId),
    ).toMatchObject([{ host: FAR_SIDE, tenantId: 'acme', allowed: true }]);
    // The signature alone would do for whoever finds it.
    expect(logged.join('')).not.toContain(run.podToken.split('.')[2]);
  });
});

describe('a pod', () => {
  test('is refused without its token, whatever else it shows', async () => {
    const run = await claimed();
    for (const sent of [
      {},
      { token: run.token },
      { token: run.podToken },
      { podToken: '' },
      { podToken: 'a.b.c' },
    ]) {
      for (const path of ['/v1/claim', '/v1/report', '/v1/result', '/nothing']) {
        const answer = await post(path, 'not even JSON', sent);
        expect(answer).toMatchObject({ ...refusedWith(401, 'TOKEN_REFUSED'), connection: 'close' });
      }
    }
    expect((await post('/v1/report', { sequence: 1 }, run)).status).toBe(200);
  });

  test('cannot use the report token of another, nor can a second pod of the same attempt', async () => {
    const [run, thief] = [await claimed(), await claimed()];
    const again = await accounts.token({ ...run, tenantId: 'acme', uid: 'second-pod' });
    const elsewhere = await accounts.token({ ...run, tenantId: 'other' });
    const retried = await accounts.token({ ...run, attempt: 2, tenantId: 'acme' });
    for (const podToken of [thief.podToken, again, retried]) {
      const stolen = { podToken, token: run.token };
      expect(await post('/v1/report', { sequence: 1 }, stolen)).toMatchObject(
        refusedWith(401, 'TOKEN_REFUSED'),
      );
      const result = await post('/v1/result', { status: 'SUCCESS' }, stolen);
      expect(result).toMatchObject(refusedWith(401, 'TOKEN_REFUSED'));
    }
    for (const podToken of [again, elsewhere, retried]) {
      expect(await claim({ podToken })).toMatchObject(refusedWith(409, 'CLAIM_REFUSED'));
    }
    const rotated = await accounts.token({ ...run, tenantId: 'acme' });
    expect((await post('/v1/report', { sequence: 1 }, { podToken: rotated, token: run.token })).status).toBe(
      200,
    );
  });

  test('cannot claim the run of another tenant, nor an attempt that a token claims; nor a token its own', async () => {
    const run = await start('other');
    const foreign = await accounts.token({ ...run, tenantId: 'acme' });
    expect(await claim({ podToken: foreign })).toMatchObject(refusedWith(409, 'CLAIM_REFUSED'));
    expect((await claim(run)).status).toBe(200);

    const docker = await queueRun(pool, 'acme');
    await admit(pool, 'acme', hashToken('a-token'));
    const podToken = await accounts.token({ runId: docker, attempt: 1, tenantId: 'acme', uid: 'x' });
    for (const sent of [{ podToken }, { podToken, token: 'a-token' }]) {
      expect(await claim(sent)).toMatchObject(refusedWith(409, 'CLAIM_REFUSED'));
    }
  });

  test('is told to come again while the API server’s keys cannot be had', async () => {
    const run = await start();
    accounts.up = false;
    const deaf = await listen();
    try {
      expect(await claim({ ...run, port: deaf.port })).toMatchObject(
        refusedWith(503, 'IDENTITY_UNAVAILABLE'),
      );
    } finally {
      accounts.up = true;
      await deaf.close({ drainMs: 0 });
    }
    expect((await claim(run)).status).toBe(200);
  });
});

describe('many requests', () => {
  test('of one attempt are served one at a time, eight at most wait, and no other attempt does', async () => {
    const [run, other] = [await claimed(), await claimed()];
    const answers = await transaction(pool, async (client) => {
      await client.query('SELECT 1 FROM run_attempts WHERE run_id = $1 FOR UPDATE', [run.runId]);
      // Eight connections are all that an attempt has.
      const agent = new Agent({ keepAlive: true, maxSockets: 8 });
      const waiting = Array.from({ length: 8 }, () => post('/v1/report', { sequence: 1 }, { ...run, agent }));
      await expect.poll(blocked).toBe(1);
      expect(await post('/v1/report', { sequence: 1 }, run)).toMatchObject(
        refusedWith(429, 'TOO_MANY_REQUESTS'),
      );
      expect((await post('/v1/report', { sequence: 1 }, other)).status).toBe(200);
      expect(await blocked()).toBe(1);
      return { waiting, agent };
    });
    expect((await Promise.all(answers.waiting)).map(({ status }) => status)).toEqual(Array(8).fill(200));
    answers.agent.destroy();
    await expect.poll(async () => (await post('/v1/report', { sequence: 2 }, run)).status).toBe(200);
  });

  test('of one connection are not sent without waiting for answers: before there is proof only one is read', async () => {
    let asked = 0;
    const own = await gateway.listenOnTls({
      ...{ host: '127.0.0.1', port: 0, credentials },
      authenticate: async () => {
        asked += 1;
        return await new Promise<never>(() => undefined);
      },
    });
    const socket = connectTls({ host: 'localhost', port: own.port, ca: authority.cert });
    socket.on('error', () => undefined);
    await once(socket, 'secureConnect');
    const before = process.memoryUsage().rss;
    const head = 'POST /v1/claim HTTP/1.1\r\nHost: x\r\nWormhole-Pod-Token: a\r\nContent-Length: 0\r\n\r\n';
    const closing = new Promise((resolve) => socket.once('close', resolve));
    socket.end(head.repeat(50_000));
    await closing;
    expect(asked).toBe(1);
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 2 ** 20);
    await own.close({ drainMs: 0 });
  });

  test('of a runner that does not wait for answers end its connection, and no other', async () => {
    const [run, other] = [await claimed(), await claimed()];
    const body = '{"sequence": 1}';
    const report =
      `POST /v1/report HTTP/1.1\r\nHost: x\r\nWormhole-Pod-Token: ${run.podToken}\r\n` +
      `Authorization: Bearer ${run.token}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const socket = connectTls({ host: 'localhost', port: listener.port, ca: authority.cert });
    socket.on('error', () => undefined);
    socket.write(report);
    await once(socket, 'data');
    socket.write(report.repeat(100));
    await new Promise((resolve) => socket.resume().once('close', resolve));
    expect((await post('/v1/report', { sequence: 1 }, other)).status).toBe(200);
    expect((await post('/v1/report', { sequence: 2 }, run)).status).toBe(200);
  });

  test('with too large a header are refused', async () => {
    const run = await start();
    const sent = { ...run, headers: { 'x-large': 'x'.repeat(20_000) } };
    expect((await claim(sent)).status).toBe(431);
    expect((await claim(run)).status).toBe(200);
  });
});

describe('the port', () => {
  const handshake = (options: object): Promise<TLSSocket> =>
    new Promise((resolve, reject) => {
      const socket = connectTls(
        { host: 'localhost', port: listener.port, ca: authority.cert, ...options },
        () => resolve(socket),
      );
      socket.on('error', reject);
    });

  test('speaks TLS 1.2 and 1.3 and nothing older, nor anything in the clear', async () => {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const socket = await handshake({ minVersion: version, maxVersion: version });
      expect(socket.getProtocol()).toBe(version);
      socket.destroy();
    }
    await expect(
      handshake({ minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }),
    ).rejects.toThrow();
    const plain = connectTcp(listener.port, '127.0.0.1');
    plain.end('POST /v1/claim HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n');
    expect(await text(plain).catch(() => '')).not.toContain('HTTP/1.1');
  });

  test('is not kept from others by an address that opens connections and says nothing', async () => {
    const silent = Array.from({ length: 300 }, () => {
      const socket = connectTcp({ port: listener.port, host: '127.0.0.1', localAddress: '127.0.0.2' });
      return socket.on('error', () => undefined).resume();
    });
    await expect.poll(() => silent.filter((socket) => !socket.closed).length).toBe(16);
    expect((await claim(await start())).status).toBe(200);
    for (const socket of silent) socket.destroy();
  });

  test('shows a certificate that was replaced, without a restart, and never half of a pair', async () => {
    const run = await claimed();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const report = (sequence: number, sent: object = {}) =>
      post('/v1/report', { sequence }, { ...run, ...sent });
    const serial = async (): Promise<string> => {
      const socket = await handshake({});
      const shown = socket.getPeerX509Certificate()?.serialNumber ?? '';
      socket.destroy();
      return shown;
    };
    expect((await report(1, { agent })).status).toBe(200);
    const first = await serial();
    const next = await issueServerCertificate(authority, server);
    await volume.update({ ...filesOf(next), 'tls.key': authority.key });
    await expect
      .poll(() => logged.some((line) => line.includes('keeping the old TLS certificate')))
      .toBe(true);
    expect(await serial()).toBe(first);
    await volume.update(filesOf(next));
    await expect.poll(serial).not.toBe(first);
    expect((await report(2, { agent })).status).toBe(200);
    expect((await report(3)).status).toBe(200);
    agent.destroy();
    expect(logged.join('')).not.toContain('PRIVATE KEY');
  });

  test('drains: who is connected is answered and sent elsewhere, then nobody is let in', async () => {
    const own = await listen();
    const run = { ...(await claimed()), agent: new Agent({ keepAlive: true }), port: own.port };
    expect((await post('/v1/report', { sequence: 1 }, run)).connection).toBe('keep-alive');
    const closed = own.close({ drainMs: 10_000 });
    const last = await post('/v1/report', { sequence: 2 }, run);
    expect(last).toMatchObject({ status: 200, connection: 'close' });
    await closed;
    await expect(post('/v1/report', { sequence: 3 }, run)).rejects.toThrow(/ECONNREFUSED/);
    run.agent.destroy();
  });

  test('does not wait for who says nothing', async () => {
    const own = await listen();
    const silent = connectTls({ host: 'localhost', port: own.port, ca: authority.cert });
    silent.on('error', () => undefined);
    await once(silent, 'secureConnect');
    const started = performance.now();
    await own.close({ drainMs: 100 });
    expect(performance.now() - started).toBeLessThan(3000);
    await once(silent, 'close');
  });
});

/** @returns how many connections of this database wait for a lock. */
async function blocked(): Promise<number | undefined> {
  const { rows } = await pool.query<{ n: number }>(
    `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
  );
  return rows[0]?.n;
}
