import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadConfig, loadEnvironment, type PlatformConfig } from '../../../controller/config.ts';
import { WormholeError } from '../../../controller/errors.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'wormhole-test-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function load(yaml: string, env: Record<string, string> = {}): PlatformConfig {
  const file = join(folder, 'wormhole.yaml');
  writeFileSync(file, yaml);
  return loadConfig({ env, file });
}

function refusal(work: () => unknown): WormholeError {
  try {
    work();
  } catch (error) {
    if (error instanceof WormholeError) return error;
    throw error;
  }
  throw new Error('was not refused');
}

describe('wormhole.yaml', () => {
  test('may be empty: everything has a default', () => {
    expect(load('')).toMatchObject({
      instance: 'default',
      maxConcurrent: 50,
      tenants: [],
      internalServices: [],
      retry: { attempts: 3 },
      ephemeral: false,
    });
  });

  test('gives a tenant its defaults: nothing may be reached', () => {
    expect(load('tenants: [{ id: acme }]').tenants).toEqual([
      {
        id: 'acme',
        maxConcurrent: 5,
        maxQueued: 10_000,
        maxTimeoutMs: 1_800_000,
        limits: { cpus: 1, memoryMb: 512, pids: 128, tmpMb: 64 },
        egress: { mode: 'deny', allow: [] },
      },
    ]);
  });

  test.each([
    ['maxConcurrent: 0', 'maxConcurrent: is 0; allowed: at least 1'],
    ['maxConcurrent: "5"', 'maxConcurrent: is "5"; allowed: number'],
    ['retry: { attempts: 1.5 }', 'retry.attempts: is 1.5; allowed: a whole number'],
    ['surprise: 1', 'has no key "surprise"'],
    ['__proto__: { polluted: true }', 'has no key "__proto__"'],
    ['tenants: [{ id: acme, egres: {} }]', 'tenants[0]: has no key "egres"'],
    ['tenants: [{ id: "../etc" }]', 'tenants[0].id: is "../etc"; allowed: 1 to 50 lower-case letters'],
    ['tenants: [{ id: "a\\e[2J" }]', 'tenants[0].id: is "a\\u001b[2J"'],
    ['tenants: [{ id: acme }, { id: acme }]', 'tenants[1].id: is "acme"; allowed: a value used only once'],
    ['tenants: {}', 'tenants: is an object; allowed: array'],
    ['tenants: [{}]', 'tenants[0].id: is missing'],
    [
      'tenants: [{ id: a, egress: { mode: allowlist, allow: [{ host: 10.0.0.1 }] } }]',
      'tenants[0].egress.allow[0].host: is "10.0.0.1"; allowed: a domain name, not an address',
    ],
    [
      'tenants: [{ id: a, egress: { mode: open } }]',
      'tenants[0].egress.mode: is "open"; allowed: "deny", "allowlist", "unrestricted"',
    ],
    [
      'internalServices: [{ host: crm, port: 80, address: crm.local, targetPort: 1 }]',
      'internalServices[0].address: is "crm.local"; allowed: an IPv4 or IPv6 address',
    ],
    ['instance: "a b"', 'instance: is "a b"; allowed: 1 to 40 lower-case'],
    ['just text', 'the document: is "just text"; allowed: object'],
    ['tenants: [', 'at line 1, column 11'],
    ['a: &a [x]\nb: [*a, *missing]', 'missing'],
  ])('refuses %j', (yaml, message) => {
    const error = refusal(() => load(yaml));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.message).toContain('wormhole.yaml: ');
    expect(error.message).toContain(message);
    expect(error.message).not.toContain('\n');
  });

  test('refuses a file that explodes when its aliases are followed', () => {
    const levels = Array.from(
      { length: 12 },
      (_, i) => `l${i + 1}: &l${i + 1} [${Array(9).fill(`*l${i}`).join(', ')}]`,
    );
    expect(refusal(() => load(['l0: &l0 [x]', ...levels].join('\n'))).code).toBe('CONFIG_INVALID');
  });

  test('a message stays short whatever the value', () => {
    const error = refusal(() => load(`instance: ${'x'.repeat(1_000_000)}`));
    expect(error.message.length).toBeLessThan(500);
  });

  test('a list or an object in a wrong place is not shown: it may hold a secret', () => {
    expect(refusal(() => load('instance: { password: hunter2 }')).message).not.toContain('hunter2');
  });

  test('that was named must exist', () => {
    const error = refusal(() => loadConfig({ env: {}, file: join(folder, 'absent.yaml') }));
    expect(error.message).toContain('absent.yaml');
  });

  test('of any text is accepted or refused with CONFIG_INVALID', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.json()), (text) => {
        try {
          load(text);
        } catch (error) {
          expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe('the environment', () => {
  test('that is empty means: everything embedded', () => {
    expect(loadEnvironment({})).toMatchObject({
      databaseUrl: undefined,
      redisUrl: undefined,
      logLevel: 'info',
    });
  });

  test('a variable set to nothing counts as not set', () => {
    expect(loadEnvironment({ DATABASE_URL: '', WORMHOLE_LOG_LEVEL: '' })).toEqual(loadEnvironment({}));
  });

  test.each([
    ['WORMHOLE_LOG_LEVEL', 'loud', '"fatal", "error"'],
    ['WORMHOLE_STATE_DIR', 'relative/path', 'an absolute path'],
    ['WORMHOLE_RUN_DIR', `/${'x'.repeat(60)}`, 'at most 44 characters'],
    ['WORMHOLE_RUNNER_IMAGE', 'two words', 'an image reference'],
    ['DOCKER_HOST', 'ssh://somewhere', 'unix:// or tcp://'],
  ])('refuses %s=%s', (name, value, message) => {
    const error = refusal(() => loadEnvironment({ [name]: value }));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.message).toContain(name);
    expect(error.message).toContain(message);
  });

  test.each(['DATABASE_URL', 'REDIS_URL', 'MONGODB_URL', 'DOCKER_HOST'])(
    'never shows a wrong %s, which may hold a password',
    (name) => {
      const error = refusal(() => loadEnvironment({ [name]: 'mysql://root:hunter2@db' }));
      expect(error.message).toContain(name);
      expect(error.message).not.toContain('hunter2');
    },
  );
});
