import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import fc from 'fast-check';
import { exportSPKI, importJWK, type CryptoKey } from 'jose';
import { pino } from 'pino';
import { beforeAll, describe, expect, test } from 'vitest';
import { messageOf, WormholeError } from '../../../controller/errors.ts';
import { ClusterKeys } from '../../../controller/gateway/cluster-keys.ts';
import { PodIdentities } from '../../../controller/gateway/pod-identity.ts';
import { newRunId, tenantIdSchema } from '../../../controller/model/ids.ts';
import {
  ISSUER,
  POD_RULES,
  podClaims,
  ServiceAccounts,
  type PodToken,
} from '../../support/service-accounts.ts';

const log = pino({ level: 'silent' });
const pod: PodToken = { runId: newRunId(), attempt: 3, tenantId: 'acme', uid: 'uid-1' };
const identity = { runId: pod.runId, attempt: 3, tenantId: 'acme', podUid: 'uid-1' };

const verifier = (accounts: ServiceAccounts, refreshIntervalMs = 0): PodIdentities =>
  new PodIdentities(new ClusterKeys({ fetch: accounts.fetch, log, refreshIntervalMs }), POD_RULES);

const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** @returns the code and message of the refusal, after seeing that it holds no part of the token. */
async function refusal(pods: PodIdentities, token: string): Promise<string> {
  const error: unknown = await pods.verify(token).catch((thrown: unknown) => thrown);
  if (!(error instanceof WormholeError))
    throw new Error('the token was accepted, or failed otherwise', { cause: error });
  const told = `${error.message} ${messageOf(error.cause)}`;
  for (const part of token.split('.').filter((p) => p.length > 8)) expect(told).not.toContain(part);
  return `${error.code}: ${error.message}`;
}

let accounts: ServiceAccounts;
let pods: PodIdentities;
beforeAll(async () => {
  accounts = await ServiceAccounts.start();
  pods = verifier(accounts);
});

describe('a pod’s token', () => {
  test.each(['RS256', 'ES256'])('tells which attempt its pod runs, signed with %s', async (alg) => {
    const cluster = await ServiceAccounts.start(alg);
    expect(await verifier(cluster).verify(await cluster.token(pod))).toEqual(identity);
  });

  const bound = podClaims(pod)['kubernetes.io'] as Record<string, unknown>;
  const withPodName = (name: string) => ({ 'kubernetes.io': { ...bound, pod: { name, uid: 'uid-1' } } });
  const withAccount = (namespace: string, name: string) => ({
    sub: `system:serviceaccount:${namespace}:${name}`,
    'kubernetes.io': { ...bound, namespace, serviceaccount: { name, uid: 'x' } },
  });
  test.each<[string, Partial<PodToken>, RegExp]>([
    ['another audience', { claims: { aud: ['https://kubernetes.default.svc'] } }, /"aud"/],
    ['a second audience', { claims: { aud: ['wormhole-gateway', 'vault'] } }, /for others/],
    ['no audience', { claims: { aud: undefined } }, /"aud"/],
    ['another issuer', { claims: { iss: 'https://other.example' } }, /"iss"/],
    ['an issuer that begins alike', { claims: { iss: `${ISSUER}.evil.example` } }, /"iss"/],
    ['an expiry that is past', { expiresInS: -10 }, /"exp"/],
    ['no expiry', { claims: { exp: undefined } }, /"exp"/],
    ['a start in the future', { claims: { nbf: Math.floor(Date.now() / 1000) + 60 } }, /"nbf"/],
    ['no pod', { claims: { 'kubernetes.io': { ...bound, pod: undefined } } }, /bound to a pod/],
    ['no claims of Kubernetes', { claims: { 'kubernetes.io': undefined } }, /bound to a pod/],
    [
      'a pod without uid',
      { claims: { 'kubernetes.io': { ...bound, pod: { name: 'x', uid: '' } } } },
      /bound to a pod/,
    ],
    ['another service account', { claims: withAccount('wormhole-run-acme', 'default') }, /service account/],
    [
      'a subject that is another',
      { claims: { sub: 'system:serviceaccount:kube-system:admin' } },
      /service account/,
    ],
    ['the platform’s namespace', { claims: withAccount('wormhole-system', 'wormhole-runner') }, /namespace/],
    [
      'a namespace that begins alike',
      { claims: withAccount('wormhole-runacme', 'wormhole-runner') },
      /namespace/,
    ],
    ['a namespace without tenant', { claims: withAccount('wormhole-run-', 'wormhole-runner') }, /namespace/],
    [
      'a namespace that is no tenant',
      { claims: withAccount('wormhole-run--', 'wormhole-runner') },
      /namespace/,
    ],
    ['a pod that is no run’s', { claims: withPodName('debug') }, /pod is not one of a run/],
    ['a pod without suffix', { claims: withPodName(`run-${pod.runId}-3`) }, /pod is not/],
    ['a pod with another suffix', { claims: withPodName(`run-${pod.runId}-3-abcdef`) }, /pod is not/],
    ['a pod of attempt 0', { claims: withPodName(`run-${pod.runId}-0-abcde`) }, /pod is not/],
    ['a pod of attempt 03', { claims: withPodName(`run-${pod.runId}-03-abcde`) }, /pod is not/],
    ['a pod of no run id', { claims: withPodName(`run-${'0'.repeat(36)}-3-abcde`) }, /pod is not/],
    ['a pod with more before', { claims: withPodName(`x-run-${pod.runId}-3-abcde`) }, /pod is not/],
    ['a key id that the cluster lacks', { header: { kid: 'other' } }, /no applicable key/],
    ['no key id', { header: { kid: undefined } }, /does not name its key/],
  ])('is refused with %s', async (_what, wrong, message) => {
    const told = await refusal(pods, await accounts.token({ ...pod, ...wrong }));
    expect(told).toMatch(/^TOKEN_REFUSED: the pod's service account token is refused: /);
    expect(told).toMatch(message);
  });

  test('of another cluster is refused, also under this one’s key id', async () => {
    const other = await ServiceAccounts.start();
    expect(await refusal(pods, await other.token(pod))).toMatch(/no applicable key/);
    const forged = await other.token({ ...pod, header: { kid: accounts.signing.kid } });
    expect(await refusal(pods, forged)).toMatch(/signature verification failed/);
  });

  test('without a signature, or with the public key as a shared secret, is refused', async () => {
    const { kid, jwk } = accounts.signing;
    const unsigned = `${encoded({ alg: 'none', kid })}.${encoded(podClaims(pod))}`;
    expect(await refusal(pods, `${unsigned}.`)).toMatch(/TOKEN_REFUSED/);
    const body = `${encoded({ alg: 'HS256', kid })}.${encoded(podClaims(pod))}`;
    const pem = await exportSPKI((await importJWK(jwk, 'RS256', { extractable: true })) as CryptoKey);
    for (const secret of [pem, pem.trim(), JSON.stringify(jwk), '']) {
      const mac = createHmac('sha256', secret).update(body).digest('base64url');
      expect(await refusal(pods, `${body}.${mac}`)).toMatch(/TOKEN_REFUSED/);
    }
  });

  test('that brings its own key is refused', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const jwk = publicKey.export({ format: 'jwk' });
    for (const header of [
      { jwk },
      { jwk, kid: accounts.signing.kid },
      { jku: 'https://evil.example/', kid: 'x' },
    ]) {
      const body = `${encoded({ alg: 'RS256', ...header })}.${encoded(podClaims(pod))}`;
      const signature = sign('sha256', Buffer.from(body), privateKey).toString('base64url');
      expect(await refusal(pods, `${body}.${signature}`)).toMatch(/TOKEN_REFUSED/);
    }
  });

  test('that was changed in any part is refused, and so is anything else', async () => {
    const good = await accounts.token(pod);
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: good.length - 1 }),
        fc.constantFrom('A', 'x', '-', '.', ' '),
        async (at, c) => {
          const changed = `${good.slice(0, at)}${c}${good.slice(at + 1)}`;
          // The last character of a signature holds bits that are not used.
          fc.pre(changed !== good && at < good.length - 1);
          expect(await refusal(pods, changed)).toMatch(/TOKEN_REFUSED/);
        },
      ),
      { numRuns: 200 },
    );
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 200 }), async (garbage) => {
        const error: unknown = await pods.verify(garbage).catch((thrown: unknown) => thrown);
        expect(error).toMatchObject({ code: 'TOKEN_REFUSED' });
      }),
    );
    expect(await refusal(pods, `${good}${'A'.repeat(9000)}`)).toMatch(/longer than 8192/);
  });
});

describe('the keys of the cluster', () => {
  test('are fetched once, and a token that was verified is not verified again until it expires', async () => {
    const cluster = await ServiceAccounts.start();
    const fresh = verifier(cluster);
    const token = await cluster.token({ ...pod, expiresInS: 1 });
    await Promise.all(Array.from({ length: 50 }, () => fresh.verify(token)));
    expect(cluster.fetched.toSorted()).toEqual(['/.well-known/openid-configuration', '/openid/v1/jwks']);
    for (let i = 0; i < 1000; i += 1) await fresh.verify(token);
    const expired = await cluster.token({ ...pod, expiresInS: -6 });
    expect(await refusal(fresh, expired)).toMatch(/"exp"/);
  });

  test('that are new are found; those that the cluster withdrew are forgotten with the next fetch', async () => {
    const cluster = await ServiceAccounts.start();
    const fresh = verifier(cluster);
    const first = await cluster.token(pod);
    await fresh.verify(first);
    await cluster.rotate();
    expect(await fresh.verify(await cluster.token({ ...pod, uid: 'uid-2' }))).toMatchObject({
      podUid: 'uid-2',
    });
    const old = await cluster.token({ ...pod, uid: 'uid-3' });
    await cluster.rotate({ forget: true });
    expect(await fresh.verify(await cluster.token(pod))).toEqual(identity);
    expect(await refusal(fresh, old)).toMatch(/no applicable key/);
  });

  test('are not fetched faster than allowed, however many unknown keys are named', async () => {
    const cluster = await ServiceAccounts.start();
    const slow = verifier(cluster, 100);
    await slow.verify(await cluster.token(pod));
    const started = performance.now();
    const named = Array.from({ length: 40 }, async (_, i) =>
      refusal(slow, await cluster.token({ ...pod, header: { kid: `unknown-${i}` } })),
    );
    for (const told of await Promise.all(named)) expect(told).toMatch(/no applicable key/);
    const intervals = (performance.now() - started) / 100;
    expect(cluster.fetched.length).toBeLessThanOrEqual(2 * (2 + intervals));
    expect(cluster.fetched.length).toBeGreaterThanOrEqual(4);
  });

  test('are kept while the API server is away; what they do not tell is unavailable then, not refused', async () => {
    const cluster = await ServiceAccounts.start();
    const fresh = verifier(cluster);
    cluster.up = false;
    const token = await cluster.token(pod);
    expect(await refusal(fresh, token)).toMatch(/^IDENTITY_UNAVAILABLE: /);
    cluster.up = true;
    expect(await fresh.verify(token)).toEqual(identity);
    cluster.up = false;
    expect(await fresh.verify(await cluster.token({ ...pod, uid: 'uid-2' }))).toMatchObject({
      podUid: 'uid-2',
    });
    await cluster.rotate();
    const newer = await cluster.token(pod);
    expect(await refusal(fresh, newer)).toMatch(/^IDENTITY_UNAVAILABLE: /);
    cluster.up = true;
    expect(await fresh.verify(newer)).toEqual(identity);
  });

  test('that are no keys are unavailable', async () => {
    for (const published of [null, { keys: 'x' }, '<html>']) {
      const keys = new ClusterKeys({ fetch: () => Promise.resolve(published), log, refreshIntervalMs: 0 });
      const broken = new PodIdentities(keys, POD_RULES);
      expect(await refusal(broken, await accounts.token(pod))).toMatch(/^IDENTITY_UNAVAILABLE: /);
    }
  });
});

test('a tenant’s id may hold the prefix’s own hyphens', async () => {
  const tenantId = 'run-acme-wormhole-run';
  expect(await pods.verify(await accounts.token({ ...pod, tenantId }))).toMatchObject({
    tenantId: tenantIdSchema.parse(tenantId),
  });
});
