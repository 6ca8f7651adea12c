import { createPrivateKey, X509Certificate } from 'node:crypto';
import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { loadEnvironment } from '../../../controller/config.ts';
import { Interrupt } from '../../../controller/cli/interrupt.ts';
import { runCli } from '../../../controller/cli/program.ts';
import { KeyRing } from '../../../controller/secrets/cipher.ts';
import type { SecretManifest } from '../../../controller/setup/secrets.ts';
import { wormhole } from '../../support/cli.ts';

const DATABASE_URL = 'postgres://wormhole:hunter2@db.example/wormhole';

const manifestsOf = (yaml: string): SecretManifest[] =>
  parseAllDocuments(yaml).map((document) => document.toJS() as SecretManifest);

async function secrets(...args: readonly string[]): Promise<Map<string, SecretManifest>> {
  const { exitCode, stdout, stderr } = await wormhole(['secrets', ...args]);
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
    [[], '--database-url is missing'],
    [['--only', 'database'], '--database-url is missing'],
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
      const exitCode = await runCli(['secrets', '--only', 'encryption', ...args], {
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
    expect(printed).toContain('WORMHOLE_ENCRYPTION_KEYS');
  });
});
