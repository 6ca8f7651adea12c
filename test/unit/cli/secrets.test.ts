import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { loadEnvironment } from '../../../controller/config.ts';
import { Interrupt } from '../../../controller/cli/interrupt.ts';
import { runCli } from '../../../controller/cli/program.ts';
import { KeyRing } from '../../../controller/secrets/cipher.ts';
import { makeAuthority } from '../../../controller/setup/certificates.ts';
import type { SecretManifest } from '../../../controller/setup/secrets.ts';
import { wormhole } from '../../support/cli.ts';

const DATABASE_URL = 'postgres://wormhole:hunter2@db.example/wormhole';

const manifestsOf = (yaml: string): SecretManifest[] =>
  parseAllDocuments(yaml).map((document) => document.toJS() as SecretManifest);

const secrets = (...args: readonly string[]): Promise<Map<string, SecretManifest>> =>
  secretsWith({}, ...args);

async function secretsWith(
  env: Readonly<Record<string, string>>,
  ...args: readonly string[]
): Promise<Map<string, SecretManifest>> {
  const { exitCode, stdout, stderr } = await wormhole(['secrets', ...args], { env });
  expect(stderr).toBe('');
  expect(exitCode).toBe(0);
  return new Map(manifestsOf(stdout).map((secret) => [secret.metadata.name, secret]));
}

describe('wormhole secrets', () => {
  test('prints what the control plane mounts, each key as the variable that it is', async () => {
    const made = await secrets('--database-url', DATABASE_URL, '--namespace', 'platform');
    expect([...made.keys()]).toEqual([
      'wormhole-database',
      'wormhole-encryption',
      'wormhole-egress-grants',
      'wormhole-gateway-tls',
    ]);
    for (const { apiVersion, kind, metadata } of made.values()) {
      expect({ apiVersion, kind, namespace: metadata.namespace }).toEqual({
        apiVersion: 'v1',
        kind: 'Secret',
        namespace: 'platform',
      });
    }
    const variables = ['database', 'encryption', 'egress-grants'].map(
      (name) => made.get(`wormhole-${name}`)!.stringData,
    );
    const environment = loadEnvironment(Object.assign({}, ...variables) as Record<string, string>);
    expect(environment.databaseUrl).toBe(DATABASE_URL);
    expect(Buffer.from(environment.egressGrantKey ?? '', 'base64')).toHaveLength(32);
    expect(() => KeyRing.parse(environment.encryptionKeys ?? '')).not.toThrow();
  });

  test("makes a certificate that the authority signed, for the names of the gateway's Service", async () => {
    const { stringData } = (await secrets('--only', 'gateway-tls', '--namespace', 'platform')).get(
      'wormhole-gateway-tls',
    )!;
    const certificate = new X509Certificate(stringData['tls.crt']!);
    const authority = new X509Certificate(stringData['ca.crt']!);
    expect(certificate.verify(authority.publicKey)).toBe(true);
    expect(certificate.checkIssued(authority)).toBe(true);
    expect(certificate.checkPrivateKey(createPrivateKey(stringData['tls.key']!))).toBe(true);
    expect(certificate.checkHost('wormhole-gateway.platform.svc')).toBeDefined();
    expect(certificate.checkHost('wormhole-gateway.elsewhere.svc')).toBeUndefined();
    expect(certificate.ca).toBe(false);
  });

  test('makes new keys every time', async () => {
    const values = async (): Promise<string> =>
      JSON.stringify([...(await secrets('--only', 'egress-grants'))]);
    expect(await values()).not.toBe(await values());
  });

  test('with --json prints one list', async () => {
    const result = await wormhole(['secrets', '--json', '--database-url', DATABASE_URL]);
    expect(result.json()).toMatchObject({ kind: 'List', items: [{}, {}, {}, {}] });
  });

  test.each([
    [[], 'DATABASE_URL is missing'],
    [['--only', 'database'], 'DATABASE_URL is missing'],
    [['--only', 'encryption'], 'WORMHOLE_ENCRYPTION_KEYS is missing'],
    [['--only', 'gateway-tls', '--ca-file', '/nonexistent'], '--ca-file cannot be read'],
    [['--only', 'keys'], 'gateway-tls'],
    [['--database-url', 'mysql://root:hunter2@db'], '--database-url is not a URL'],
    [['--database-url', DATABASE_URL, '--redis-url', 'hunter2'], '--redis-url is not a URL'],
  ])('refuses %j', async (args, message) => {
    const { exitCode, stdout, stderr } = await wormhole(['secrets', ...args]);
    expect(exitCode).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain(message);
    expect(stderr).not.toContain('hunter2');
  });

  test('prints no key to a terminal, unless it is asked to', async () => {
    const print = async (...args: readonly string[]): Promise<[exitCode: number, stdout: string]> => {
      let printed = '';
      const stdout = Object.assign(
        new Writable({
          write: (chunk: Buffer, _encoding, done) => {
            printed += chunk.toString();
            done();
          },
        }),
        { isTTY: true },
      );
      const exitCode = await runCli(['secrets', '--only', 'egress-grants', ...args], {
        env: {},
        streams: { stdin: process.stdin, stdout, stderr: new Writable({ write: (_c, _e, done) => done() }) },
        interrupt: new Interrupt(),
        openClient: () => Promise.reject(new Error('no client is needed')),
      });
      return [exitCode, printed];
    };
    expect(await print()).toEqual([2, '']);
    const [exitCode, printed] = await print('--force');
    expect(exitCode).toBe(0);
    expect(printed).toContain('WORMHOLE_EGRESS_GRANT_KEY');
  });

  test('reads what holds passwords from the environment; an option overrides it', async () => {
    const env = {
      DATABASE_URL,
      REDIS_URL: 'redis://:hunter2@redis.example',
      MONGODB_URL: 'mongodb://logs:hunter2@mongo.example/logs',
    };
    expect((await secretsWith(env)).get('wormhole-database')?.stringData).toEqual(env);
    const other = 'postgres://elsewhere.example/wormhole';
    const made = await secretsWith(env, '--only', 'database', '--database-url', other);
    expect(made.get('wormhole-database')?.stringData).toEqual({ ...env, DATABASE_URL: other });
  });

  test('puts a new encryption key in front of those in use, also twice a day', async () => {
    const ring = async (env: Readonly<Record<string, string>>, ...args: string[]): Promise<string> =>
      (await secretsWith(env, ...args)).get('wormhole-encryption')?.stringData['WORMHOLE_ENCRYPTION_KEYS'] ??
      '';
    const first = await ring({ DATABASE_URL });
    const second = await ring({ WORMHOLE_ENCRYPTION_KEYS: first }, '--only', 'encryption');
    const third = await ring({ WORMHOLE_ENCRYPTION_KEYS: second }, '--only', 'encryption');
    expect(second.endsWith(`,${first}`)).toBe(true);
    expect(third.endsWith(`,${second}`)).toBe(true);
    const sealed = KeyRing.parse(first).seal(Buffer.from('x'), 'acme/crm');
    expect(KeyRing.parse(third).open(sealed, 'acme/crm').toString()).toBe('x');
    const wrong = { WORMHOLE_ENCRYPTION_KEYS: 'hunter2' };
    const refused = await wormhole(['secrets', '--only', 'encryption'], { env: wrong });
    expect(refused).toMatchObject({ stdout: '' });
    expect(refused.exitCode).not.toBe(0);
    expect(refused.stderr).not.toContain('hunter2');
  });

  test('lets runs trust the authority before beside the new one, and takes nothing else of its file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'wh-secrets-'));
    try {
      const old = await makeAuthority({ days: 1 });
      const file = join(folder, 'old.crt');
      await writeFile(file, `${old.key}\n# old\n${old.cert}`);
      const made = await secrets('--only', 'gateway-tls', '--ca-file', file);
      const { 'ca.crt': bundle = '', 'tls.crt': leaf = '' } = made.get('wormhole-gateway-tls')!.stringData;
      const authorities = bundle.split(/(?<=END CERTIFICATE-----\n)/);
      expect(authorities).toHaveLength(2);
      const certificate = new X509Certificate(leaf);
      expect(certificate.verify(new X509Certificate(authorities[0]!).publicKey)).toBe(true);
      expect(authorities[1]).toBe(old.cert);
      expect(bundle).not.toContain('PRIVATE KEY');
      await writeFile(file, old.key);
      const refused = await wormhole(['secrets', '--only', 'gateway-tls', '--ca-file', file]);
      expect(refused.stderr).toContain('not certificates in PEM');
      expect(refused).toMatchObject({ stdout: '' });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
