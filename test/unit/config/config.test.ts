import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  loadConfig,
  loadEnvironment,
  type Environment,
  type PlatformConfig,
} from '../../../controller/config.ts';
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
        whenFull: 'reject',
        weight: 1,
        priority: 'normal',
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

describe('metrics and traces', () => {
  test('are off unless somebody says where', () => {
    const off = { metricsAddress: undefined, metricsTenants: 1000, traces: undefined };
    expect(loadEnvironment({})).toMatchObject(off);
    expect(loadEnvironment({ WORMHOLE_METRICS_ADDRESS: '::1' })).toMatchObject(off);
    expect(loadEnvironment({ OTEL_EXPORTER_OTLP_HEADERS: 'a=b' })).toMatchObject(off);
  });

  test('have a port, on loopback by default', () => {
    const at = (env: Record<string, string>) => loadEnvironment(env).metricsAddress;
    expect(at({ WORMHOLE_METRICS_PORT: '9464' })).toEqual({ host: '127.0.0.1', port: 9464 });
    expect(at({ WORMHOLE_METRICS_PORT: '0', WORMHOLE_METRICS_ADDRESS: '0.0.0.0' })).toEqual({
      host: '0.0.0.0',
      port: 0,
    });
  });

  test.each([
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' }, 'http://collector:4318/v1/traces'],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'https://c/otlp/' }, 'https://c/otlp/v1/traces'],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://c/in' }, 'https://c/in'],
    [
      { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c', OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://d/in' },
      'https://d/in',
    ],
  ])('%j has traces posted to %s', (env, url) => {
    expect(loadEnvironment(env).traces).toEqual({ url, headers: {} });
  });

  test('have headers as OpenTelemetry writes them', () => {
    const env = {
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c',
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20abc, x-team = a=b',
    };
    expect(loadEnvironment(env).traces?.headers).toEqual({ authorization: 'Bearer abc', 'x-team': 'a=b' });
  });

  test.each([
    ['WORMHOLE_METRICS_PORT', '70000'],
    ['WORMHOLE_METRICS_ADDRESS', 'localhost'],
    ['WORMHOLE_METRICS_TENANTS', '-1'],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'hunter2:4317'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'hunter2'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'a=%hunter2'],
  ])('refuse %s=%s, and never show a secret', (name, value) => {
    const { code, message } = refusal(() => loadEnvironment({ [name]: value }));
    expect(code).toBe('CONFIG_INVALID');
    expect(message).toContain(name);
    expect(message).not.toContain('hunter2');
  });
});

describe('the section kubernetes', () => {
  const image = `registry.example/wormhole-runner@sha256:${'a'.repeat(64)}`;

  test('needs the runner image only', () => {
    expect(load('').kubernetes).toBeUndefined();
    expect(load(`kubernetes: { runnerImage: ${image} }`).kubernetes).toEqual({
      platformNamespace: 'wormhole-system',
      tenantNamespacePrefix: 'wormhole-run',
      runnerImage: image,
      allowImageTag: false,
      gateway: { service: 'wormhole-gateway', port: 8443, audience: 'wormhole-gateway' },
      egressProxy: { service: 'wormhole-egress-proxy', port: 3128 },
      placement: {},
      unschedulableTimeoutMs: 30_000,
    });
  });

  test.each([
    ['{}', 'kubernetes.runnerImage: is missing'],
    ['{ runnerImage: "runner:dev" }', 'kubernetes.runnerImage: is "runner:dev"; allowed: an image by digest'],
    ['{ runnerImage: "runner:dev", allowImageTag: true, pool: 1 }', 'kubernetes: has no key "pool"'],
    [
      `{ runnerImage: "${image}", tenantNamespacePrefix: wormhole-runner }`,
      'kubernetes.tenantNamespacePrefix: is "wormhole-runner"; allowed: at most 12',
    ],
    [
      `{ runnerImage: "${image}", placement: { tolerations: [{ operator: Exists }] } }`,
      'kubernetes.placement.tolerations[0].key: is missing',
    ],
    [
      `{ runnerImage: "${image}", placement: { hostUsers: true } }`,
      'kubernetes.placement.hostUsers: is true',
    ],
    [
      `{ runnerImage: "${image}", unschedulableTimeoutMs: 60000 }`,
      'kubernetes.unschedulableTimeoutMs: is 60000; allowed: less than claimTimeoutMs, which is 60000',
    ],
  ])('refuses %j', (yaml, message) => {
    expect(refusal(() => load(`kubernetes: ${yaml}`)).message).toContain(message);
  });
});

describe('WORMHOLE_INTERNAL_SERVICES', () => {
  const service = { host: 'crm.internal', port: 80, address: '10.1.2.3', targetPort: 8080 };
  const declared = `internalServices: [${JSON.stringify(service)}]`;

  test('is added to what is declared', () => {
    const other = { ...service, port: 81 };
    const { internalServices } = load(declared, { WORMHOLE_INTERNAL_SERVICES: JSON.stringify([other]) });
    expect(internalServices).toEqual([service, other]);
  });

  test.each([
    ['[{', 'a JSON list like internalServices'],
    ['[{"host":"crm"}]', 'WORMHOLE_INTERNAL_SERVICES[0].port: is missing'],
    [JSON.stringify([service]), 'WORMHOLE_INTERNAL_SERVICES: "crm.internal:80" is there twice'],
  ])('refuses %s', (value, message) => {
    const error = refusal(() => load(declared, { WORMHOLE_INTERNAL_SERVICES: value }));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.message).toContain(message);
  });
});

describe('WORMHOLE_SECRETS_DIR', () => {
  let secrets: string;
  beforeEach(() => {
    secrets = mkdtempSync(join(folder, 'secrets-'));
  });
  const write = (name: string, text: string): void => writeFileSync(join(secrets, name), text);
  const read = (env: Record<string, string> = {}): Environment =>
    loadEnvironment({ ...env, WORMHOLE_SECRETS_DIR: secrets });

  test('has a file for each variable, read like the variable', () => {
    const key = Buffer.alloc(32, 1).toString('base64');
    write('DATABASE_URL', 'postgres://db/wormhole\n');
    write('WORMHOLE_EGRESS_GRANT_KEY', key);
    write('REDIS_URL', '');
    mkdirSync(join(secrets, '..data'));
    expect(read()).toMatchObject({
      databaseUrl: 'postgres://db/wormhole',
      egressGrantKey: key,
      redisUrl: undefined,
    });
  });

  test('refuses a variable that is set both ways', () => {
    write('DATABASE_URL', 'postgres://root:hunter2@db/wormhole');
    const { message } = refusal(() => read({ DATABASE_URL: 'postgres://root:hunter2@db/wormhole' }));
    expect(message).toContain('DATABASE_URL: is set, and');
    expect(message).not.toContain('hunter2');
  });

  test('refuses a file that is no variable', () => {
    write('DATABSE_URL', 'postgres://root:hunter2@db/wormhole');
    const { message } = refusal(() => read());
    expect(message).toContain('DATABSE_URL: is not named as a variable');
    expect(message).not.toContain('hunter2');
  });

  test.each(['DATABASE_URL', 'WORMHOLE_EGRESS_GRANT_KEY'])('never shows a wrong %s', (name) => {
    write(name, 'mysql://root:hunter2@db');
    const { message } = refusal(() => read());
    expect(message).toContain(name);
    expect(message).not.toContain('hunter2');
  });

  test('must exist', () => {
    rmSync(secrets, { recursive: true });
    expect(refusal(() => read()).message).toContain('WORMHOLE_SECRETS_DIR');
  });
});
