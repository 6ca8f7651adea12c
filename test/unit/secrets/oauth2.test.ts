import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { inspect } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Dialer } from '../../../controller/egress/dial.ts';
import { tenantIdSchema } from '../../../controller/model/ids.ts';
import type { EgressPolicy } from '../../../controller/model/tenant.ts';
import { AccessTokenSource, type OAuth2Credentials } from '../../../controller/secrets/oauth2.ts';
import { resolveCredentials } from '../../../controller/secrets/resolve.ts';
import { TokenEndpoint } from '../../../controller/secrets/token-endpoint.ts';

const SECRETS = ['canary-client-secret', 'canary-refresh-1', 'canary-refresh-2', 'canary-body'];
const HOST = 'login.internal';
const ref = { tenantId: tenantIdSchema.parse('acme'), key: 'drive' };
const policy: EgressPolicy = { mode: 'allowlist', allow: [{ host: HOST, ports: [80, 443] }] };
const client: OAuth2Credentials = {
  kind: 'OAUTH2',
  tokenUrl: `http://${HOST}/token?v=2`,
  clientId: 'id with space&',
  clientSecret: 'canary-client-secret',
};
const user: OAuth2Credentials = { ...client, refreshToken: 'canary-refresh-1' };

interface Asked {
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly form: Record<string, string>;
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(
    () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        if ('closeAllConnections' in server) (server.closeAllConnections as () => void)();
      }),
  );
  return (server.address() as AddressInfo).port;
}

/** A real token endpoint, declared as an internal service, and the source under test in front of it. */
async function start(
  answer: (asked: Asked, count: number) => { status?: number; body: unknown } | Promise<never>,
  options: { onRotated?: (token: string) => Promise<void>; listener?: RequestListener } = {},
) {
  const asked: Asked[] = [];
  const server = createHttpServer((request, response) => {
    if (options.listener !== undefined) {
      options.listener(request, response);
      return;
    }
    void text(request).then(async (body) => {
      const { url = '', headers } = request;
      asked.push({ url, headers, form: Object.fromEntries(new URLSearchParams(body)) });
      const { status = 200, body: json } = await answer(asked.at(-1)!, asked.length);
      response.writeHead(status, { 'Content-Type': 'application/json' });
      response.end(typeof json === 'string' ? json : JSON.stringify(json));
    });
  });
  const port = await listen(server);
  const clock = { now: Date.now() };
  const rotated: string[] = [];
  const source = new AccessTokenSource({
    endpoint: new TokenEndpoint({
      dialer: new Dialer(),
      internalServices: [{ host: HOST, port: 80, address: '127.0.0.1', targetPort: port }],
      timeoutMs: 500,
    }),
    onRotated: async (_ref, token) => {
      await options.onRotated?.(token);
      rotated.push(token);
    },
    clock: () => clock.now,
  });
  return { source, asked, rotated, clock };
}

const errorOf = async (promise: Promise<unknown>): Promise<unknown> => {
  const error = await promise.then(
    () => expect.unreachable('it should have failed'),
    (thrown: unknown) => thrown,
  );
  const shown = inspect(error, { depth: null, showHidden: true });
  for (const secret of SECRETS) expect(shown).not.toContain(secret);
  return error;
};

describe('an access token', () => {
  it('comes from the client credentials grant, with client_secret_basic', async () => {
    const { source, asked } = await start(() => ({
      body: { access_token: 'at', token_type: 'Bearer', expires_in: 60 },
    }));
    const credentials = await resolveCredentials(
      { ...client, scope: 'read write' },
      { ref, policy, tokens: source },
    );
    expect(credentials).toEqual({ kind: 'OAUTH2', accessToken: 'at' });
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatchObject({
      url: '/token?v=2',
      form: { grant_type: 'client_credentials', scope: 'read write' },
      headers: { host: HOST, 'content-type': 'application/x-www-form-urlencoded' },
    });
    const basic = Buffer.from(asked[0]!.headers.authorization!.slice('Basic '.length), 'base64').toString();
    expect(basic).toBe('id+with+space%26:canary-client-secret');
  });

  it('is used again until shortly before it expires, and not after', async () => {
    const { source, asked, clock } = await start((_, n) => ({
      body: { access_token: `at-${n}`, expires_in: '3600' },
    }));
    expect(await source.get(ref, client, policy)).toBe('at-1');
    clock.now += 54 * 60 * 1000;
    expect(await source.get(ref, client, policy)).toBe('at-1');
    clock.now += 2 * 60 * 1000;
    expect(await source.get(ref, client, policy)).toBe('at-2');
    expect(asked).toHaveLength(2);
  });

  it('is not used again when nobody said how long it is good for', async () => {
    const { source } = await start((_, n) => ({ body: { access_token: `at-${n}` } }));
    expect([await source.get(ref, client, policy), await source.get(ref, client, policy)]).toEqual([
      'at-1',
      'at-2',
    ]);
  });

  it('is fetched once however many wait for it, and for each connection and secret by itself', async () => {
    const { source, asked } = await start((_, n) => ({
      body: { access_token: `at-${n}`, expires_in: 3600 },
    }));
    const tokens = await Promise.all(Array.from({ length: 50 }, () => source.get(ref, client, policy)));
    expect(new Set(tokens)).toEqual(new Set(['at-1']));
    expect(await source.get({ ...ref, key: 'other' }, client, policy)).toBe('at-2');
    expect(await source.get({ ...ref, tenantId: tenantIdSchema.parse('globex') }, client, policy)).toBe(
      'at-3',
    );
    expect(await source.get(ref, { ...client, clientSecret: 'changed' }, policy)).toBe('at-4');
    expect(asked).toHaveLength(4);
  });
});

describe('a refresh token', () => {
  it('that is replaced is stored before the access token is used, and then the new one is used', async () => {
    const { source, asked, rotated, clock } = await start((_, n) => ({
      body: {
        access_token: `at-${n}`,
        expires_in: 600,
        ...(n === 1 ? { refresh_token: 'canary-refresh-2' } : {}),
      },
    }));
    expect(await source.get(ref, user, policy)).toBe('at-1');
    expect(rotated).toEqual(['canary-refresh-2']);
    // Both who read the store before and who read it after get the same token: the old one is never sent twice.
    expect(await source.get(ref, user, policy)).toBe('at-1');
    expect(await source.get(ref, { ...user, refreshToken: 'canary-refresh-2' }, policy)).toBe('at-1');
    clock.now += 10 * 60 * 1000;
    expect(await source.get(ref, user, policy)).toBe('at-2');
    expect(asked.map((a) => a.form)).toEqual([
      { grant_type: 'refresh_token', refresh_token: 'canary-refresh-1' },
      { grant_type: 'refresh_token', refresh_token: 'canary-refresh-2' },
    ]);
    expect(rotated).toHaveLength(1);
  });

  it('that could not be stored fails the claim, is kept, and is stored at the next', async () => {
    let isDown = true;
    const { source, asked, rotated } = await start(
      () => ({ body: { access_token: 'at', expires_in: 600, refresh_token: 'canary-refresh-2' } }),
      { onRotated: () => (isDown ? Promise.reject(new Error('database gone')) : Promise.resolve()) },
    );
    expect(await errorOf(source.get(ref, user, policy))).toMatchObject({ code: 'CREDENTIALS_UNAVAILABLE' });
    isDown = false;
    expect(await source.get(ref, user, policy)).toBe('at');
    expect(rotated).toEqual(['canary-refresh-2']);
    expect(asked).toHaveLength(1);
  });

  it('that was entered anew is used at once', async () => {
    const { source, asked } = await start((_, n) => ({ body: { access_token: `at-${n}`, expires_in: 600 } }));
    await source.get(ref, user, policy);
    expect(await source.get(ref, { ...user, refreshToken: 'entered-anew' }, policy)).toBe('at-2');
    expect(asked[1]?.form['refresh_token']).toBe('entered-anew');
  });
});

describe('a token endpoint that fails', () => {
  it.each([
    [400, { error: 'invalid_grant', error_description: 'canary-body' }, '400 invalid_grant', undefined],
    [401, { error: 'canary-body' }, 'answered 401', undefined],
    [500, '<html>canary-body</html>', 'answered 500', 1000],
    [429, '', 'answered 429', 1000],
    [302, '', 'answered 302', undefined],
    [200, 'canary-body', 'no bearer token', undefined],
    [200, { access_token: 'canary-body\r\nX: y' }, 'no bearer token', undefined],
    [200, { access_token: 'canary-body', token_type: 'mac' }, 'no bearer token', undefined],
    [200, { access_token: '' }, 'no bearer token', undefined],
    [200, 'x'.repeat(100_000), 'did not answer', 1000],
  ])('with %i %j says so, and no more', async (status, body, message, retryAfterMs) => {
    const { source } = await start(() => ({ status, body }));
    const error = await errorOf(source.get(ref, user, policy));
    expect(error).toMatchObject({ code: 'CREDENTIALS_UNAVAILABLE', retryAfterMs });
    expect(String(error)).toContain('connection "drive" of tenant "acme"');
    expect(String(error)).toContain(message);
  });

  it('by being silent is given up in time', async () => {
    const { source } = await start(() => new Promise<never>(() => undefined));
    const before = performance.now();
    expect(await errorOf(source.get(ref, client, policy))).toMatchObject({ retryAfterMs: 1000 });
    expect(performance.now() - before).toBeLessThan(2000);
  });

  it('by sending its answer for ever is given up in time', async () => {
    const { source } = await start(() => expect.unreachable(), {
      listener: (_request, response) => {
        response.writeHead(200);
        const timer = setInterval(() => response.write(' '), 50);
        response.once('close', () => clearInterval(timer));
      },
    });
    expect(await errorOf(source.get(ref, client, policy))).toMatchObject({ retryAfterMs: 1000 });
  });

  it('is asked again by the next run', async () => {
    const { source } = await start((_, n) =>
      n === 1 ? { status: 500, body: '' } : { body: { access_token: 'at', expires_in: 60 } },
    );
    await errorOf(source.get(ref, client, policy));
    expect(await source.get(ref, client, policy)).toBe('at');
  });
});

describe("a tenant's token URL", () => {
  it.each([
    ['http://127.0.0.1/token', policy],
    ['http://169.254.169.254/latest/api/token', policy],
    ['https://[::1]/token', policy],
    ['https://localhost/token', policy],
    ['https://metadata.google.internal/token', policy],
    ['http://8.8.8.8/token', policy],
    [`http://${HOST}/token`, { mode: 'allowlist', allow: [] } satisfies EgressPolicy],
    [`http://${HOST}/token`, { mode: 'unrestricted', allow: [] } satisfies EgressPolicy],
    [`http://${HOST}/token`, { ...policy, mode: 'deny' } satisfies EgressPolicy],
    [`http://${HOST}:8080/token`, policy],
  ])('%s is not called with the policy %j', async (tokenUrl, tenantPolicy) => {
    const { source, asked } = await start(() => ({ body: { access_token: 'at' } }));
    const error = await errorOf(source.get(ref, { ...client, tokenUrl }, tenantPolicy));
    expect(error).toMatchObject({ code: 'CREDENTIALS_UNAVAILABLE', retryAfterMs: undefined });
    expect(asked).toHaveLength(0);
  });

  it('that resolves to a private address is not called', async () => {
    const server = createHttpServer(() => expect.unreachable());
    const port = await listen(server);
    const source = new AccessTokenSource({
      endpoint: new TokenEndpoint({
        dialer: new Dialer({ resolver: { resolve: () => Promise.resolve(['127.0.0.1']) } }),
      }),
      onRotated: () => Promise.resolve(),
    });
    const tokenUrl = `https://login.example.com:${port}/token`;
    const error = await errorOf(source.get(ref, { ...client, tokenUrl }, policy));
    expect(String(error)).toContain('not at a public address');
  });

  it('is called over TLS only if the certificate is for its name', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tls-'));
    const trusted = getCACertificates('default');
    onTestFinished(() => {
      setDefaultCACertificates(trusted);
      rmSync(folder, { recursive: true });
    });
    execFileSync(
      'openssl',
      [
        ...[
          'req',
          '-x509',
          '-newkey',
          'ec',
          '-pkeyopt',
          'ec_paramgen_curve:prime256v1',
          '-nodes',
          '-days',
          '2',
        ],
        ...['-subj', `/CN=${HOST}`, '-addext', `subjectAltName=DNS:${HOST}`],
        ...['-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem')],
      ],
      { stdio: 'ignore' },
    );
    const cert = readFileSync(join(folder, 'cert.pem'), 'utf8');
    let calls = 0;
    const server = createHttpsServer(
      { key: readFileSync(join(folder, 'key.pem')), cert },
      (_request, response) => {
        calls += 1;
        response.end(JSON.stringify({ access_token: 'over-tls' }));
      },
    );
    const port = await listen(server);
    const other = 'other.internal';
    const source = new AccessTokenSource({
      endpoint: new TokenEndpoint({
        dialer: new Dialer(),
        internalServices: [HOST, other].map((host) => ({
          host,
          port: 443,
          address: '127.0.0.1',
          targetPort: port,
        })),
      }),
      onRotated: () => Promise.resolve(),
    });
    const both: EgressPolicy = {
      mode: 'allowlist',
      allow: [HOST, other].map((host) => ({ host, ports: [443] })),
    };
    const get = (host: string): Promise<string> =>
      source.get(ref, { ...client, tokenUrl: `https://${host}/token` }, both);

    await errorOf(get(HOST));
    setDefaultCACertificates([...trusted, cert]);
    expect(await get(HOST)).toBe('over-tls');
    await errorOf(get(other));
    expect(calls).toBe(1);
  });
});
