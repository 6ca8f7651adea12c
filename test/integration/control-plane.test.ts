import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer, request as httpRequest } from 'node:http';
import { createServer, request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { signGrant } from '../../controller/egress/grant.ts';
import { messageOf } from '../../controller/errors.ts';
import { newRunId, tenantIdSchema } from '../../controller/model/ids.ts';
import { makeGatewayCertificate, type ServerCertificate } from '../../controller/setup/certificates.ts';
import { freePorts } from '../support/cluster/free-ports.ts';
import { until } from '../support/cluster/until.ts';
import { ComponentProcess } from '../support/component-process.ts';
import { cloneDatabase } from '../support/database.ts';
import { ServiceAccounts } from '../support/service-accounts.ts';
import { TcpRelay } from '../support/tcp-relay.ts';

/** An API server and its proxies answer within this, on a machine that does other things, too. */
const READY_MS = 20_000;
const TOKEN = 'service-account-token';
const DATABASE_PASSWORD = 'hunter2';

const database = await cloneDatabase();
const [relayPort, gatewayPort, proxyPort] = (await freePorts(3)) as [number, number, number];
const grantKey = randomBytes(32);
const relay = new TcpRelay(
  { path: `${database.connection.host}/.s.PGSQL.${database.connection.port}` },
  relayPort,
);
const databaseUrl = `postgres://${database.connection.user}:${DATABASE_PASSWORD}@127.0.0.1:${relayPort}/${database.connection.database}`;

let folder: string;
let tls: ServerCertificate;
let accounts: ServiceAccounts;
let configFile: string;
let env: Record<string, string>;
const closing = new AsyncDisposableStack();

/** What a controller without tenants and a gateway ask of an API server; it answers only who has the token. */
async function startApiServer(): Promise<number> {
  const server = createServer({ cert: tls.cert, key: tls.key }, (request, response) => {
    const path = request.url?.split('?', 1)[0] ?? '';
    const answer =
      request.headers.authorization !== `Bearer ${TOKEN}`
        ? Promise.reject(new Error('no token'))
        : path === '/api/v1/namespaces'
          ? Promise.resolve({ kind: 'NamespaceList', metadata: { resourceVersion: '1' }, items: [] })
          : accounts.fetch(path);
    answer.then(
      (body) => response.setHeader('content-type', 'application/json').end(JSON.stringify(body)),
      () => response.writeHead(503).end(),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.defer(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'control-plane-'));
  closing.defer(() => rm(folder, { recursive: true }));
  accounts = await ServiceAccounts.start();
  tls = await makeGatewayCertificate({ names: ['localhost'], addresses: ['127.0.0.1'], days: 1 });
  const apiPort = await startApiServer();
  const file = async (name: string, content: string): Promise<string> => {
    await writeFile(join(folder, name), content);
    return join(folder, name);
  };
  configFile = await file(
    'wormhole.yaml',
    `instance: cp-${randomBytes(4).toString('hex')}
kubernetes:
  runnerImage: wormhole-runner:test
  allowImageTag: true
  gateway: { port: ${gatewayPort} }
  egressProxy: { port: ${proxyPort} }
`,
  );
  await file('tls.crt', tls.cert);
  await file('tls.key', tls.key);
  await file('token', TOKEN);
  await file('ca.crt', tls.ca);
  const kubeconfig = await file(
    'kubeconfig',
    JSON.stringify({
      clusters: [
        {
          name: 'test',
          cluster: {
            server: `https://127.0.0.1:${apiPort}`,
            'certificate-authority-data': Buffer.from(tls.ca).toString('base64'),
          },
        },
      ],
      users: [{ name: 'test', user: { token: TOKEN } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
      'current-context': 'test',
    }),
  );
  env = {
    TMPDIR: tmpdir(),
    WORMHOLE_TLS_DIR: folder,
    WORMHOLE_SERVICE_ACCOUNT_DIR: folder,
    KUBERNETES_SERVICE_HOST: '127.0.0.1',
    KUBERNETES_SERVICE_PORT: String(apiPort),
    KUBECONFIG: kubeconfig,
    DATABASE_URL: databaseUrl,
    WORMHOLE_ENCRYPTION_KEYS: `test:${randomBytes(32).toString('base64')}`,
    WORMHOLE_EGRESS_GRANT_KEY: grantKey.toString('base64'),
  };
});
afterAll(async () => {
  await relay.close();
  await closing.disposeAsync();
});

const ready = (component: ComponentProcess): Promise<void> =>
  until('the component', READY_MS, async () => {
    expect(await component.readiness()).toEqual({ status: 200, ready: true });
  });
const notReady = (component: ComponentProcess, reason: string): Promise<void> =>
  until('the component', READY_MS, async () => {
    expect(await component.readiness()).toMatchObject({ status: 503, reasons: [reason] });
  });
const says = (component: ComponentProcess, message: string): Promise<void> =>
  until(`"${message}"`, READY_MS, () => {
    expect(component.lines.join('\n')).toContain(message);
    return Promise.resolve();
  });

describe('the controller', () => {
  test('waits for PostgreSQL, leads, stands it out when it goes away, and hands over at once', async () => {
    await using first = await ComponentProcess.start('controller', configFile, env);
    await notReady(first, 'PostgreSQL cannot be reached');
    expect(await first.health()).toBe(200);
    await relay.open();
    await says(first, 'taking runs');
    await ready(first);

    await relay.close();
    await notReady(first, 'PostgreSQL cannot be reached');
    expect(await first.health()).toBe(200);
    await relay.open();
    await ready(first);

    await using second = await ComponentProcess.start('controller', configFile, env);
    await says(second, 'standing by');
    await ready(second);
    expect(second.lines.join('\n')).not.toContain('taking runs');
    const [leading, standby] = [await first.metrics(), await second.metrics()];
    expect(leading.get('wormhole_controller_leading')).toBe(1);
    expect(leading.get('wormhole_platform_slots_max')).toBe(50);
    expect(leading.get('wormhole_slot_drift')).toBe(0);
    expect(standby.get('wormhole_controller_leading')).toBe(0);
    expect(standby.has('wormhole_platform_slots_max')).toBe(false);

    const { exitCode, ms } = await first.terminate();
    expect(exitCode).toBe(0);
    expect(ms).toBeLessThan(2000);
    await says(second, 'taking runs');
    expect(await second.terminate()).toMatchObject({ exitCode: 0 });
    for (const { lines } of [first, second]) expect(lines.join('\n')).not.toContain(DATABASE_PASSWORD);
  });

  test('that is told to end while it stands by or waits for PostgreSQL, ends', async () => {
    await relay.close();
    await using waiting = await ComponentProcess.start('controller', configFile, env);
    await notReady(waiting, 'PostgreSQL cannot be reached');
    expect(await waiting.terminate()).toMatchObject({ exitCode: 0 });
    await relay.open();
  });

  test.each([
    ['DATABASE_URL', 'DATABASE_URL: is missing'],
    ['WORMHOLE_TLS_DIR', 'cannot read /run/secrets/wormhole-tls/ca.crt'],
  ])('does not start without %s, and says so', async (variable, message) => {
    const starting = ComponentProcess.start('controller', configFile, { ...env, [variable]: '' });
    // Either at once, or after its probes are answered.
    const said = await starting.then(
      async (component) => {
        await component.ended;
        return component.lines.join('\n');
      },
      (error: unknown) => messageOf(error),
    );
    expect(said).toContain(message);
  });
});

describe('the gateway', () => {
  test('is ready with schema, PostgreSQL and the keys of the API server, and answers over TLS', async () => {
    await relay.open();
    const { rows } = await database.pool.query<{ name: string }>('DELETE FROM migrations RETURNING name');
    accounts.up = false;
    await using gateway = await ComponentProcess.start('gateway', configFile, env);
    await notReady(
      gateway,
      'the database does not have the schema yet; the controller that leads brings it up',
    );
    for (const { name } of rows) {
      await database.pool.query('INSERT INTO migrations (name) VALUES ($1)', [name]);
    }
    await notReady(gateway, 'the API server has not given its keys yet');
    accounts.up = true;
    await ready(gateway);

    const refused = await post(
      gatewayPort,
      '/v1/claim',
      await accounts.token({
        ...{ runId: newRunId(), attempt: 1, tenantId: 'acme', uid: 'pod-uid', claims: { aud: ['another'] } },
      }),
    );
    expect(refused).toMatchObject({ status: 401, body: { error: { code: 'TOKEN_REFUSED' } } });
    const unknown = await post(
      gatewayPort,
      '/v1/claim',
      await accounts.token({
        ...{ runId: newRunId(), attempt: 1, tenantId: 'acme', uid: 'pod-uid' },
      }),
    );
    expect(unknown).toMatchObject({ status: 409, body: { error: { code: 'CLAIM_REFUSED' } } });
    const metrics = await gateway.metrics();
    for (const outcome of ['TOKEN_REFUSED', 'CLAIM_REFUSED']) {
      const name = `wormhole_gateway_requests_total{request="claim",outcome="${outcome}"}`;
      expect(metrics.get(name)).toBe(1);
    }

    await relay.close();
    await notReady(gateway, 'PostgreSQL cannot be reached');
    expect(await gateway.health()).toBe(200);
    await relay.open();
    await ready(gateway);
    expect(await gateway.terminate()).toMatchObject({ exitCode: 0 });
    expect(gateway.lines.join('\n')).not.toContain(TOKEN);
  });

  /** Sends a request of a runner. */
  async function post(
    port: number,
    path: string,
    token: string,
  ): Promise<{ status?: number; body: unknown }> {
    const { promise, resolve, reject } = Promise.withResolvers<{ status?: number; body: unknown }>();
    const headers = { 'wormhole-pod-token': token, 'content-type': 'application/json' };
    httpsRequest(
      { ...{ host: '127.0.0.1', port, path, method: 'POST', headers }, ca: tls.ca },
      (response) => {
        text(response).then((body) => {
          resolve({
            ...(response.statusCode !== undefined && { status: response.statusCode }),
            body: JSON.parse(body) as unknown,
          });
        }, reject);
      },
    )
      .on('error', reject)
      .end(JSON.stringify({ runnerVersion: '0.1.0' }));
    return await promise;
  }
});

describe('the egress proxy', () => {
  test('needs its grant key alone, and lets an open request end when it is told to', async () => {
    const slow = createHttpServer((_request, response) => setTimeout(() => response.end('late'), 1000));
    slow.listen(0, '127.0.0.1');
    await once(slow, 'listening');
    const { port: targetPort } = slow.address() as AddressInfo;
    const services = [{ host: 'slow.internal', port: 80, address: '127.0.0.1', targetPort }];
    try {
      await using proxy = await ComponentProcess.start('egress-proxy', configFile, {
        WORMHOLE_EGRESS_GRANT_KEY: grantKey.toString('base64'),
        WORMHOLE_INTERNAL_SERVICES: JSON.stringify(services),
      });
      await ready(proxy);
      const grant = signGrant(grantKey, {
        tenantId: tenantIdSchema.parse('acme'),
        runId: newRunId(),
        attempt: 1,
        policy: { mode: 'allowlist', allow: [{ host: 'slow.internal', ports: [80] }] },
        expiresAt: Date.now() + 60_000,
      });
      const answer = ask(grant);
      await says(proxy, 'egress allowed');
      const decisions = 'wormhole_egress_tenant_decisions_total{tenant="acme",verdict="allowed"}';
      expect((await proxy.metrics()).get(decisions)).toBe(1);
      const ended = proxy.terminate();
      expect(await answer).toBe('late');
      expect(await ended).toMatchObject({ exitCode: 0 });
      await expect(ask(grant)).rejects.toThrow('ECONNREFUSED');
    } finally {
      slow.closeAllConnections();
      await new Promise((resolve) => slow.close(resolve));
    }
  });

  async function ask(grant: string): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const headers = { host: 'slow.internal', 'proxy-authorization': `Bearer ${grant}` };
    httpRequest(
      { host: '127.0.0.1', port: proxyPort, path: 'http://slow.internal/', headers, agent: false },
      (response) => void text(response).then(resolve, reject),
    )
      .on('error', reject)
      .end();
    return await promise;
  }
});
