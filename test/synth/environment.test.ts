import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { environmentName } from '../../lib/environment-name.ts';
import { DEMO_MAX_CONCURRENT, DEMO_TENANTS } from '../../controller/demo/scenarios.ts';
import { type Environment, environmentApps, InvalidValueError, parseEnvironment } from '../../lib/index.ts';
import { DIGEST } from './run-job-manifest.ts';

const IMAGES = `images: {runner: "runner@${DIGEST}", controlPlane: "control-plane@${DIGEST}"}\n`;

const MINIMAL = `${IMAGES}tenants: [{id: a}]\n`;
const egress = (host: string, port = 443): string =>
  JSON.stringify({ tenants: [{ id: 'a', egress: { mode: 'allowlist', allow: [{ host, ports: [port] }] } }] });
const internal = (host: string, address: string): string =>
  JSON.stringify({ internalServices: [{ host, port: 80, address, targetPort: 8080 }] });

const parse = (text: string): Environment => parseEnvironment('environments/test.yaml', text);

const messageOf = (text: string): string => {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof InvalidValueError) return error.message;
    throw error;
  }
  throw new Error('the text was accepted');
};

describe('an environment file', () => {
  it('needs nothing but images and tenants', () => {
    const component = { replicas: 2, cpus: 0.25, memoryMb: 512 };
    expect(parse(`${IMAGES}tenants:\n  - id: acme\n`)).toEqual({
      production: false,
      instance: 'wormhole',
      platformNamespace: 'wormhole-system',
      tenantNamespacePrefix: 'wormhole-run',
      images: { runner: `runner@${DIGEST}`, otherRunners: [], controlPlane: `control-plane@${DIGEST}` },
      allowImageTag: false,
      maxConcurrent: 50,
      tenants: [
        {
          id: 'acme',
          maxConcurrent: 5,
          maxQueued: 10_000,
          whenFull: 'reject',
          weight: 1,
          priority: 'normal',
          maxTimeoutMs: 1_800_000,
          limits: { cpus: 1, memoryMb: 512, tmpMb: 64, pids: 128 },
          egress: { mode: 'deny', allow: [] },
        },
      ],
      internalServices: [],
      logRetentionDays: 30,
      claimTimeoutMs: 60_000,
      unschedulableTimeoutMs: 30_000,
      retry: { attempts: 3, initialDelayMs: 1000, maxDelayMs: 30_000 },
      placement: { priorityClassName: 'wormhole-run-normal' },
      cilium: false,
      pools: [],
      controlPlane: { controller: component, gateway: component, egressProxy: component },
    });
  });

  it('has each of its keys in docs/configuration.md', () => {
    const documented = readFileSync('docs/configuration.md', 'utf8');
    const keys = [...Object.keys(parse(MINIMAL)), 'egress', 'priority', 'kueue'];
    expect(keys.filter((key) => !new RegExp(`^\\| \`${key}[\`.]`, 'm').test(documented))).toEqual([]);
  });

  it('becomes a chart for the cluster, one per tenant in a namespace of its own, and one for the control plane', () => {
    const environment = parse(`${IMAGES}tenantNamespacePrefix: t\ntenants: [{id: b}, {id: a}]`);
    const charts = environmentApps(environment, 'unused').flatMap((app) => app.charts);
    expect(charts.map(({ node }) => node.id)).toEqual(['cluster', 'tenant-b', 'tenant-a', 'workloads']);
    expect((charts[1]!.toJson() as { metadata: object }[])[0]!.metadata).toMatchObject({ name: 't-b' });
  });

  it('is applied by kubectl with every namespace before what is in it, and the control plane last', () => {
    const files = environmentApps(parse(`${IMAGES}tenants: [{id: a}, {id: z}]`), 'unused')
      .flatMap((app) => app.charts)
      .sort((a, b) => (a.node.id < b.node.id ? -1 : 1));
    const objects = files.flatMap(
      (chart) => chart.toJson() as { kind: string; metadata: { name: string; namespace?: string } }[],
    );
    const positions = (kind: string) =>
      objects.flatMap((object, index) => (object.kind === kind ? [index] : []));
    objects.forEach(({ metadata: { namespace } }, index) => {
      if (namespace === undefined) return;
      const made = objects.findIndex(
        ({ kind, metadata }) => kind === 'Namespace' && metadata.name === namespace,
      );
      expect(made).toBeGreaterThanOrEqual(0);
      expect(made).toBeLessThan(index);
    });
    expect(positions('Deployment')).toHaveLength(3);
    expect(Math.min(...positions('Deployment'))).toBeGreaterThan(
      Math.max(
        ...positions('RoleBinding').filter(
          (index) => objects[index]!.metadata.namespace !== 'wormhole-system',
        ),
      ),
    );
  });

  it.each(['prod.yml', 'prod.yaml~', 'README.md'])('is not called %s, which would be skipped', (file) => {
    expect(() => environmentName(file)).toThrow(
      `environments/${file}: name is "${file}"; allowed: a name that ends in ".yaml"`,
    );
  });

  it.each(['argocd', 'eu-root', 'eu-tenants', 'eu-applications'])(
    'is not called %s, which is the name of something else for Argo CD',
    (name) => {
      expect(() => environmentName(`${name}.yaml`)).toThrow(
        `environments/${name}.yaml: name is "${name}"; allowed: a name other than "argocd" that does not end in`,
      );
    },
  );

  it('is called as its file', () => {
    expect(environmentName('eu-1.yaml')).toBe('eu-1');
    expect(() => environmentName('EU.yaml')).toThrow('environments/EU.yaml: name is "EU"; allowed: 1 to 63');
  });

  it('gives its own egress to tenants that declare none', () => {
    const { tenants } = parse(
      `${IMAGES}egress: {mode: allowlist, allow: [{host: api.example.com}]}\ntenants: [{id: a}, {id: b, egress: {}}]`,
    );
    expect(tenants.map(({ egress }) => egress)).toEqual([
      { mode: 'allowlist', allow: [{ host: 'api.example.com', ports: [443] }] },
      { mode: 'deny', allow: [] },
    ]);
  });

  it('gives runs the platform’s priority class, or the one that it places them with', () => {
    const placed = (text: string) => parse(`${IMAGES}tenants: [{id: a}]\n${text}`).placement;
    expect(placed('instance: eu\npriority: low')).toEqual({ priorityClassName: 'eu-run-low' });
    expect(placed('placement: {priorityClassName: batch, runtimeClassName: gvisor}')).toEqual({
      priorityClassName: 'batch',
      runtimeClassName: 'gvisor',
    });
  });

  it.each([
    ['', 'the whole value is null; allowed: a value of type object'],
    ['[]', 'the whole value is []; allowed: a value of type object'],
    ['{}', 'tenants is missing; allowed: a value of type array'],
    ['{}', 'images is missing; allowed: a value of type object'],
    ['tenants: []', 'tenants is []; allowed: at least 1 entries'],
    ['tenants: [{}]', 'tenants[0].id is missing; allowed: a value of type string'],
    ['tenants: [{id: Acme}]', 'tenants[0].id is "Acme"; allowed: 1 to 50 lower-case letters'],
    ['tenants: [{id: 7}]', 'tenants[0].id is 7; allowed: a value of type string'],
    [
      `${IMAGES}tenants: [{id: a}, {id: b}, {id: a}]`,
      'tenants[2].id is "a"; allowed: an id that no other tenant has',
    ],
    ['tenants: [{id: a, maxConcurrent: 0}]', 'tenants[0].maxConcurrent is 0; allowed: at least 1'],
    [
      'tenants: [{id: a, maxConcurrent: "5"}]',
      'tenants[0].maxConcurrent is "5"; allowed: a value of type number',
    ],
    ['tenants: [{id: a, limits: {memoryMb: 16}}]', 'tenants[0].limits.memoryMb is 16; allowed: at least 32'],
    ['tenants: [{id: a, maxConcurent: 5}]', 'tenants[0].maxConcurent is 5; allowed: no key of this name'],
    [
      'tenantNamespacePrefix: thirteen-char\ntenants: [{id: a}]',
      'tenantNamespacePrefix is "thirteen-char"; allowed: at most 12',
    ],
    ['instance: a_b\ntenants: [{id: a}]', 'instance is "a_b"; allowed: 1 to 63 lower-case letters'],
    [
      `${IMAGES}platformNamespace: wormhole-run-a\ntenants: [{id: a}]`,
      'tenants[0].id is "a"; allowed: an id whose namespace is not the platform\'s own',
    ],
    ...['kube-system', 'default', 'argocd'].map((name): [string, string] => [
      `platformNamespace: ${name}`,
      `platformNamespace is "${name}"; allowed: a namespace of its own`,
    ]),
    ...['system', 'system-eu'].map((name): [string, string] => [
      `instance: ${name}`,
      `instance is "${name}"; allowed: a name other than "system"`,
    ]),
    [
      'placement: {priorityClassName: system-node-critical}',
      'placement.priorityClassName is "system-node-critical"; allowed: a class that does not start with "system-"',
    ],
    [
      `${MINIMAL}instance: eu\nplacement: {priorityClassName: eu-control-plane}`,
      'placement.priorityClassName is "eu-control-plane"; allowed: a class of runs',
    ],
    ['tenants: [{id: a, maxQueued: -1}]', 'tenants[0].maxQueued is -1; allowed: at least 0'],
    ['tenants: [{id: a, maxTimeoutMs: 1}]', 'tenants[0].maxTimeoutMs is 1; allowed: at least 1000'],
    ['tenants: [{id: a, limits: {pids: 1}}]', 'tenants[0].limits.pids is 1; allowed: at least 8'],
    [
      'tenants: [{id: a, limits: {cpus: 500m}}]',
      'tenants[0].limits.cpus is "500m"; allowed: a value of type number',
    ],
    [
      'tenants: [{id: a, limits: {memoryMb: 1Gi}}]',
      'tenants[0].limits.memoryMb is "1Gi"; allowed: a value of type',
    ],
    [
      `${IMAGES}maxConcurrent: 10\ntenants: [{id: a, maxConcurrent: 11}]`,
      'tenants[0].maxConcurrent is 11; allowed: at most 10, the cap of all tenants together (maxConcurrent)',
    ],
    [
      egress('HTTPS://api.example.com'),
      'tenants[0].egress.allow[0].host is "HTTPS://api.example.com"; allowed: a lower-case domain name',
    ],
    [
      egress('api.*.com'),
      'tenants[0].egress.allow[0].host is "api.*.com"; allowed: a lower-case domain name',
    ],
    [
      egress('-a.example'),
      'tenants[0].egress.allow[0].host is "-a.example"; allowed: a lower-case domain name',
    ],
    [
      egress('10.0.0.1'),
      'tenants[0].egress.allow[0].host is "10.0.0.1"; allowed: a domain name, not an address',
    ],
    [egress('a.example', 0), 'tenants[0].egress.allow[0].ports[0] is 0; allowed: at least 1'],
    [
      'tenants: [{id: a, egress: {mode: allow}}]',
      'tenants[0].egress.mode is "allow"; allowed: "deny" or "allowlist" or "unrestricted"',
    ],
    ['egress: {allow: [{host: a_b}]}', 'egress.allow[0].host is "a_b"; allowed: a lower-case domain name'],
    [
      internal('*.example', '10.0.0.1'),
      'internalServices[0].host is "*.example"; allowed: a domain name without "*"',
    ],
    [
      internal('1.2.0x3', '10.0.0.1'),
      'internalServices[0].host is "1.2.0x3"; allowed: a domain name, not an address',
    ],
    [
      internal('crm.example', 'crm'),
      'internalServices[0].address is "crm"; allowed: an IPv4 or IPv6 address',
    ],
    [
      `${MINIMAL}internalServices:\n  - {host: a, port: 80, address: 10.0.0.1, targetPort: 80}\n  - {host: a, port: 80, address: 10.0.0.2, targetPort: 80}`,
      'internalServices[1].host is "a"; allowed: a host and port used only once',
    ],
    [
      `images: {runner: "runner:1.0", controlPlane: "control-plane@${DIGEST}"}\ntenants: [{id: a}]`,
      'images.runner is "runner:1.0"; allowed: "name@sha256:<64 hexadecimal digits>" (allowImageTag permits a tag)',
    ],
    [
      `images: {runner: "runner@${DIGEST}", otherRunners: ["runner:1.0"], controlPlane: "c@${DIGEST}"}\ntenants: [{id: a}]`,
      'images.otherRunners[0] is "runner:1.0"; allowed: "name@sha256:<64 hexadecimal digits>" (allowImageTag permits a tag)',
    ],
    [
      `images: {runner: "runner:1.0", controlPlane: "control-plane"}\nallowImageTag: true\ntenants: [{id: a}]`,
      'images.controlPlane is "control-plane"; allowed: "name:tag" with a tag other than "latest"',
    ],
    [
      `${MINIMAL}production: true\nallowImageTag: true`,
      'allowImageTag is true; allowed: false, because production is true',
    ],
    [
      `${MINIMAL}production: true\ncontrolPlane: {gateway: {replicas: 1}}`,
      'controlPlane.gateway.replicas is 1; allowed: at least 2, because production is true',
    ],
    [
      'controlPlane: {controller: {memoryMb: 64}}',
      'controlPlane.controller.memoryMb is 64; allowed: at least 128',
    ],
    ['controlPlane: {proxy: {}}', 'controlPlane.proxy is {}; allowed: no key of this name'],
    [
      `${MINIMAL}claimTimeoutMs: 30000`,
      'unschedulableTimeoutMs is 30000; allowed: less than claimTimeoutMs, which is 30000',
    ],
    [
      `${IMAGES}cilium: true\ntenants: [{id: a, egress: {mode: unrestricted}}]`,
      'tenants[0].egress.mode is "unrestricted"; allowed: "deny" or "allowlist": with cilium',
    ],
    [
      `${MINIMAL}cilium: true\negress: {mode: unrestricted}`,
      'egress.mode is "unrestricted"; allowed: "deny" or "allowlist": with cilium',
    ],
    [
      'pools: [{name: fast}]',
      'pools is [{"name":"fast"}]; allowed: an empty list: this version has no warm pools',
    ],
    ['kueue: {}', 'kueue.queueName is missing; allowed: a value of type string'],
    ['priority: urgent', 'priority is "urgent"; allowed: "high" or "normal" or "low"'],
    ['placement: {hostUsers: true}', 'placement.hostUsers is true; allowed: false'],
    ['retry: {attempts: 0}', 'retry.attempts is 0; allowed: at least 1'],
    ['tenants: [{id: a}]\ntenants: []', 'line 2 is not readable (Map keys must be unique)'],
    ['tenants: &t [*t]', 'the file is not readable (Alias resolution is disabled)'],
    ['a: 1\n---\nb: 2', 'line 2 is not readable (Source contains multiple documents'],
    ['tenants: [', 'line 1 is not readable'],
  ])('%j is refused with key, value and what is allowed', (text, message) => {
    expect(messageOf(text)).toContain(`environments/test.yaml: ${message}`);
  });

  it('names every problem at once, but not a thousand of them', () => {
    const tenants = Array.from({ length: 1000 }, (_, index) => `{id: a${index}, maxConcurrent: 0}`).join(
      ', ',
    );
    const lines = messageOf(`${IMAGES}tenants: [${tenants}]`).split('\n');
    expect(lines).toHaveLength(11);
    expect(lines[9]).toContain('tenants[9].maxConcurrent is 0');
    expect(lines[10]).toBe('environments/test.yaml: and 990 more');
  });

  it('is read or refused, whatever it says', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        try {
          parse(text);
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidValueError);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('cannot make a namespace that Kubernetes refuses', () => {
    const environment = parse(
      `${IMAGES}tenantNamespacePrefix: ${'p'.repeat(12)}\ntenants: [{id: ${'t'.repeat(50)}}]`,
    );
    const app = environmentApps(environment, 'unused')[1];
    const [namespace] = app!.charts[0]!.toJson() as { metadata: { name: string } }[];
    expect(namespace!.metadata.name).toHaveLength(63);
  });
});

const committed = (file: string): Environment =>
  parseEnvironment(`environments/${file}`, readFileSync(`environments/${file}`, 'utf8'));

describe('the committed environments', () => {
  it.each(readdirSync('environments'))('%s is valid', (file) => {
    expect(committed(file).tenants.length).toBeGreaterThan(0);
  });

  it('have the demo’s tenants and cap in dev, and 50 tenants in a production that has only digests', () => {
    const { tenants, maxConcurrent } = committed('dev.yaml');
    expect({ tenants, maxConcurrent }).toEqual({ tenants: DEMO_TENANTS, maxConcurrent: DEMO_MAX_CONCURRENT });
    expect(committed('production.yaml').tenants).toHaveLength(50);
    expect(committed('production.yaml')).toMatchObject({ production: true, allowImageTag: false });
  });
});

describe('lib', () => {
  it('is pure: only main.ts meets the file system, only digest.ts a hash, nothing the clock, chance or the environment', () => {
    const files = readdirSync('lib', { recursive: true, encoding: 'utf8' }).filter((file) =>
      file.endsWith('.ts'),
    );
    expect(files.length).toBeGreaterThan(10);
    const impure = files.filter(
      (file) =>
        file !== 'main.ts' &&
        file !== 'digest.ts' &&
        /node:|\bprocess\.|\bDate\b|Math\.random|\bcrypto\b|\bfetch\(/.test(
          readFileSync(`lib/${file}`, 'utf8'),
        ),
    );
    expect(impure).toEqual([]);
    expect(readFileSync('lib/digest.ts', 'utf8').match(/^import .*$/gm)).toEqual([
      "import { hash } from 'node:crypto';",
    ]);
  });
});
