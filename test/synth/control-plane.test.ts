import { App } from 'cdk8s';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { k8s } from '../../imports/k8s.ts';
import {
  ClusterChart,
  type ControlPlaneChartProps,
  ControlPlaneChart,
  Controller,
  environmentApps,
  InvalidValueError,
  parseEnvironment,
  TenantChart,
  wormholeConfig,
} from '../../lib/index.ts';
import { milliOf } from './quantity.ts';
import { DIGEST, manifestsOf, REQUIRED_PROPS, runJobManifest, type Manifest } from './run-job-manifest.ts';

interface KubeObject {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels: Record<string, string>;
  };
}
type Deployment = KubeObject & { readonly spec: Manifest<k8s.DeploymentSpec> };
type Pod = Manifest<k8s.PodSpec>;

const SCOPE = { instance: 'wormhole', platformNamespace: 'wormhole-system' };
const PROPS: ControlPlaneChartProps = {
  ...SCOPE,
  image: `control-plane@${DIGEST}`,
  config: 'tenants: []\n',
  gateway: { replicas: 3, cpus: 4, memoryMb: 1024 },
};
const COMPONENTS = ['controller', 'gateway', 'egress-proxy'] as const;
type Component = (typeof COMPONENTS)[number];

const render = (props: ControlPlaneChartProps): KubeObject[] =>
  new ControlPlaneChart(new App(), 'control-plane', props).toJson() as KubeObject[];
const objects = render(PROPS);
const named = (kind: string, name: string, among = objects): KubeObject =>
  among.find((object) => object.kind === kind && object.metadata.name === name)!;
const deploymentOf = (component: Component, among = objects): Deployment =>
  named('Deployment', `wormhole-${component}`, among) as Deployment;
const podOf = (component: Component, among = objects): Pod =>
  deploymentOf(component, among).spec.template.spec!;

const labels = (component: string) => ({
  'app.kubernetes.io/managed-by': 'wormhole',
  'app.kubernetes.io/instance': 'wormhole',
  'app.kubernetes.io/component': component,
});

describe('ControlPlaneChart', () => {
  it('renders the control plane', () => {
    expect(objects).toMatchSnapshot();
  });

  it('puts everything into the platform’s namespace, labelled as the instance’s', () => {
    for (const { metadata } of objects) {
      expect(metadata.namespace).toBe('wormhole-system');
      expect(metadata.labels).toEqual(labels(metadata.labels['app.kubernetes.io/component']!));
    }
  });

  it('has its configuration in a ConfigMap', () => {
    expect(named('ConfigMap', 'wormhole-config')).toMatchObject({
      data: { 'wormhole.yaml': 'tenants: []\n' },
    });
  });

  it('replaces the pods of those components that read what changes', () => {
    const base = { images: { runner: 'runner:1', controlPlane: 'c:1' }, allowImageTag: true };
    const digestsOf = (change: object): (string | undefined)[] => {
      const declared = { ...base, tenants: [{ id: 'acme' }], ...change };
      const config = wormholeConfig(parseEnvironment('test.yaml', JSON.stringify(declared)));
      const rendered = render({ ...PROPS, config });
      return COMPONENTS.map(
        (component) =>
          deploymentOf(component, rendered).spec.template.metadata?.annotations?.['wormhole.dev/config'],
      );
    };
    const before = digestsOf({});
    const replaced = (change: object): Component[] => {
      const after = digestsOf(change);
      return COMPONENTS.filter((_component, index) => after[index] !== before[index]);
    };
    for (const digest of before) expect(digest).toMatch(/^[0-9a-f]{64}$/);
    expect(replaced({})).toEqual([]);
    // The controller takes these over while it leads.
    expect(replaced({ tenants: [{ id: 'acme' }, { id: 'globex' }] })).toEqual([]);
    expect(replaced({ maxConcurrent: 60, startRate: { max: 5 } })).toEqual([]);
    expect(replaced({ images: { ...base.images, runner: 'runner:2' } })).toEqual(['controller']);
    expect(replaced({ tenantNamespacePrefix: 'run' })).toEqual(['controller', 'gateway']);
    const internalServices = [{ host: 'crm.example', port: 80, address: '10.0.0.1', targetPort: 80 }];
    expect(replaced({ internalServices })).toEqual(COMPONENTS);
  });

  it('is refused with an image by tag, unless that is allowed', () => {
    const byTag = { ...PROPS, image: 'control-plane:1.0' };
    expect(() => render(byTag)).toThrow(InvalidValueError);
    expect(() => render(byTag)).toThrow('Controller: image is "control-plane:1.0"; allowed: "name@sha256:');
    expect(podOf('gateway', render({ ...byTag, allowImageTag: true })).containers[0]!.image).toBe(
      'control-plane:1.0',
    );
  });

  it.each([
    [{ size: { replicas: 0 } }, 'Controller: size.replicas is 0; allowed: at least 1'],
    [{ size: { memoryMb: 1.5 } }, 'Controller: size.memoryMb is 1.5; allowed: a whole number'],
    [{ configDigest: 'x' }, 'Controller: configDigest is "x"; allowed: a SHA-256'],
    [{ platformNamespace: 'A' }, 'Controller: platformNamespace is "A"; allowed: 1 to 63'],
    [{ privileged: true }, 'Controller: privileged is true; allowed: no key of this name'],
  ])('is refused with %j', (change, message) => {
    const props = { ...SCOPE, image: PROPS.image, configDigest: '0'.repeat(64), ...change };
    expect(() => manifestsOf((chart) => new Controller(chart, 'controller', props))).toThrow(message);
  });
});

describe.each(COMPONENTS)('the Deployment of the %s', (component) => {
  const { spec } = deploymentOf(component);
  const pod = podOf(component);
  const container = pod.containers[0]!;

  it('is as hardened as a run', () => {
    const run = runJobManifest(REQUIRED_PROPS).spec.template.spec!;
    expect(container.securityContext).toEqual(run.containers[0]!.securityContext);
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      privileged: false,
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      runAsUser: 65532,
      runAsGroup: 65532,
    });
    // The group is what the files of a Secret belong to.
    expect(pod.securityContext).toEqual({
      ...run.securityContext,
      fsGroup: 65532,
      fsGroupChangePolicy: 'OnRootMismatch',
    });
    expect(pod.containers).toHaveLength(1);
    expect(pod.enableServiceLinks).toBe(false);
    for (const field of ['hostNetwork', 'hostPID', 'hostIPC', 'shareProcessNamespace', 'initContainers']) {
      expect(pod).not.toHaveProperty(field);
    }
    for (const port of container.ports!) expect(port).not.toHaveProperty('hostPort');
    expect(pod.volumes!.flatMap((volume) => Object.keys(volume)).filter((key) => key !== 'name')).toEqual(
      component === 'egress-proxy'
        ? ['configMap', 'projected', 'emptyDir']
        : ['configMap', 'projected', 'secret', 'emptyDir'],
    );
    const writable = container.volumeMounts!.filter(({ readOnly }) => readOnly !== true);
    expect(writable.map(({ mountPath }) => mountPath)).toEqual(['/tmp']);
  });

  it('reserves what it needs and is limited in everything', () => {
    const { requests, limits } = container.resources as Record<'requests' | 'limits', Record<string, string>>;
    expect(Object.keys(requests).sort()).toEqual(['cpu', 'ephemeral-storage', 'memory']);
    expect(Object.keys(limits).sort()).toEqual(['cpu', 'ephemeral-storage', 'memory']);
    expect(limits['memory']).toBe(requests['memory']);
    expect(milliOf(limits['cpu']!)).toBeGreaterThanOrEqual(milliOf(requests['cpu']!));
    expect(spec.replicas).toBe(component === 'gateway' ? 3 : 2);
  });

  it('is rolled without a gap, spread, and evicted one pod at a time', () => {
    expect(spec.strategy).toEqual({
      type: 'RollingUpdate',
      rollingUpdate: { maxUnavailable: 0, maxSurge: 1 },
    });
    expect(named('PodDisruptionBudget', `wormhole-${component}`)).toMatchObject({
      spec: {
        maxUnavailable: 1,
        selector: { matchLabels: labels(component) },
        unhealthyPodEvictionPolicy: 'AlwaysAllow',
      },
    });
    expect(pod.topologySpreadConstraints!.map(({ topologyKey }) => topologyKey)).toEqual([
      'kubernetes.io/hostname',
      'topology.kubernetes.io/zone',
    ]);
    expect(spec.selector.matchLabels).toEqual(labels(component));
    expect(spec.template.metadata?.labels).toEqual(labels(component));
    expect(pod.priorityClassName).toBe('wormhole-control-plane');
  });

  it('is probed where no network policy lets anybody else in', () => {
    const httpGet = (path: string) => ({ path, port: 'probes', scheme: 'HTTP' });
    expect(container.startupProbe?.httpGet).toEqual(httpGet('/healthz'));
    expect(container.livenessProbe?.httpGet).toEqual(httpGet('/healthz'));
    expect(container.readinessProbe?.httpGet).toEqual(httpGet('/readyz'));
    expect(container.ports!.find(({ name }) => name === 'probes')?.containerPort).toBe(8081);
  });

  it('runs the command of its name with the declared configuration', () => {
    expect(container.args).toEqual([component, '--config', '/etc/wormhole/wormhole.yaml']);
    expect(container.env).toEqual([{ name: 'WORMHOLE_SECRETS_DIR', value: '/run/secrets/wormhole' }]);
    for (const field of ['command', 'envFrom']) expect(container).not.toHaveProperty(field);
  });

  it('has a token only if it talks to the API server', () => {
    expect(named('ServiceAccount', `wormhole-${component}`)).toMatchObject({
      automountServiceAccountToken: false,
    });
    expect(pod.serviceAccountName).toBe(`wormhole-${component}`);
    expect(pod.automountServiceAccountToken).toBe(component !== 'egress-proxy');
  });
});

describe('the secrets of the control plane', () => {
  const secretsOf = (component: Component) =>
    podOf(component)
      .volumes!.find(({ name }) => name === 'secrets')!
      .projected!.sources!.map(({ secret }) => secret!);
  const item = (key: string) => [{ key, path: key }];

  it('reach only the components that need them', () => {
    const database = { name: 'wormhole-database', items: item('DATABASE_URL') };
    // A key that is missing would keep the pod from starting, were it not optional.
    const logs = { name: 'wormhole-database', optional: true, items: item('MONGODB_URL') };
    const queue = { name: 'wormhole-database', optional: true, items: item('REDIS_URL') };
    const encryption = { name: 'wormhole-encryption', items: item('WORMHOLE_ENCRYPTION_KEYS') };
    const grants = { name: 'wormhole-egress-grants', items: item('WORMHOLE_EGRESS_GRANT_KEY') };
    const local = { name: 'wormhole-local', optional: true, items: item('WORMHOLE_INTERNAL_SERVICES') };
    const traces = {
      name: 'wormhole-traces',
      optional: true,
      items: [...item('OTEL_EXPORTER_OTLP_ENDPOINT'), ...item('OTEL_EXPORTER_OTLP_HEADERS')],
    };
    expect(secretsOf('controller')).toEqual([database, logs, queue, traces]);
    expect(secretsOf('gateway')).toEqual([database, logs, encryption, grants, local]);
    expect(secretsOf('egress-proxy')).toEqual([grants, local]);
  });

  it('have the gateway’s key in the gateway alone', () => {
    const tlsOf = (component: Component) =>
      podOf(component)
        .volumes!.find(({ name }) => name === 'tls')
        ?.secret?.items?.map(({ key }) => key);
    expect(tlsOf('gateway')).toEqual(['tls.crt', 'tls.key', 'ca.crt']);
    expect(tlsOf('controller')).toEqual(['ca.crt']);
    expect(tlsOf('egress-proxy')).toBeUndefined();
  });

  it('are files, read by no other user', () => {
    for (const component of COMPONENTS) {
      for (const { projected, secret } of podOf(component).volumes!) {
        if (projected ?? secret) expect((projected ?? secret)!.defaultMode).toBe(0o440);
      }
    }
    expect(JSON.stringify(objects)).not.toMatch(/secretKeyRef|secretRef|"kind":"Secret"/);
  });
});

describe('the network of the control plane', () => {
  it('lets the namespace of Prometheus read metrics, where there is one, and nobody else', () => {
    const policy = named('NetworkPolicy', 'metrics', render({ ...PROPS, metricsNamespace: 'monitoring' }));
    expect(policy).toMatchObject({
      spec: {
        podSelector: { matchLabels: { 'app.kubernetes.io/instance': 'wormhole' } },
        policyTypes: ['Ingress'],
        ingress: [
          {
            from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } }],
            ports: [{ port: 8081, protocol: 'TCP' }],
          },
        ],
      },
    });
    expect(named('NetworkPolicy', 'metrics')).toBeUndefined();
    expect(() => render({ ...PROPS, metricsNamespace: 'No Name' })).toThrow(InvalidValueError);
  });

  it('lets nothing in by default', () => {
    expect(named('NetworkPolicy', 'deny-ingress')).toMatchObject({
      spec: { podSelector: {}, policyTypes: ['Ingress'] },
    });
    const policies = objects.filter(({ kind }) => kind === 'NetworkPolicy');
    expect(policies.map(({ metadata }) => metadata.name)).toEqual([
      'deny-ingress',
      'wormhole-gateway',
      'wormhole-egress-proxy',
    ]);
  });

  it.each([
    ['gateway', 8443],
    ['egress-proxy', 3128],
  ] as const)(
    'lets runs of this instance reach the %s on port %i, in the namespaces of tenants only',
    (component, port) => {
      expect(named('NetworkPolicy', `wormhole-${component}`)).toMatchObject({
        spec: {
          podSelector: { matchLabels: labels(component) },
          policyTypes: ['Ingress'],
          ingress: [
            {
              from: [
                {
                  namespaceSelector: { matchLabels: labels('tenant') },
                  podSelector: { matchLabels: labels('run') },
                },
              ],
              ports: [{ protocol: 'TCP', port }],
            },
          ],
        },
      });
      expect(named('Service', `wormhole-${component}`)).toMatchObject({
        spec: { type: 'ClusterIP', selector: labels(component), ports: [{ port, targetPort: port }] },
      });
      expect(podOf(component).containers[0]!.ports).toContainEqual({
        name: component,
        containerPort: port,
        protocol: 'TCP',
      });
      expect(podOf(component).containers[0]!.lifecycle).toEqual({ preStop: { sleep: { seconds: 5 } } });

      const tenant = new TenantChart(new App(), 'tenant', {
        ...SCOPE,
        tenantId: 'acme',
        namespace: 'wormhole-run-acme',
        maxConcurrent: 1,
      }).toJson() as KubeObject[];
      expect(named('Namespace', 'wormhole-run-acme', tenant).metadata.labels).toMatchObject(labels('tenant'));
      expect(runJobManifest(REQUIRED_PROPS).spec.template.metadata!.labels).toMatchObject(labels('run'));
    },
  );
});

describe('ClusterChart', () => {
  const cluster = new ClusterChart(new App(), 'cluster', {
    ...SCOPE,
    runnerImages: [`runner@${DIGEST}`],
  }).toJson() as KubeObject[];

  it('starts with the platform’s namespace, as restricted as a tenant’s', () => {
    expect(cluster[0]).toMatchObject({
      kind: 'Namespace',
      metadata: {
        name: 'wormhole-system',
        labels: {
          ...labels('platform'),
          'pod-security.kubernetes.io/enforce': 'restricted',
          'pod-security.kubernetes.io/enforce-version': 'latest',
        },
      },
    });
  });

  it('has priority classes by which the control plane comes first, and nothing ends a run', () => {
    const classes = cluster.filter(({ kind }) => kind === 'PriorityClass') as unknown as (KubeObject & {
      value: number;
      preemptionPolicy: string;
      globalDefault?: boolean;
    })[];
    expect(
      classes.map(({ metadata, value, preemptionPolicy }) => [metadata.name, value, preemptionPolicy]),
    ).toEqual([
      ['wormhole-control-plane', 1_000_000, 'Never'],
      ['wormhole-run-high', 3000, 'Never'],
      ['wormhole-run-normal', 2000, 'Never'],
      ['wormhole-run-low', 1000, 'Never'],
    ]);
    for (const each of classes) expect(each.globalDefault).toBeUndefined();
  });

  it('refuses pods that are not shaped like a run', () => {
    expect(cluster.map(({ kind }) => kind)).toContain('ValidatingAdmissionPolicy');
  });

  it('holds runs to the sandbox, the priority and the queue that their environment declares', () => {
    const text = JSON.stringify({
      images: { runner: `runner@${DIGEST}`, controlPlane: `control-plane@${DIGEST}` },
      placement: { runtimeClassName: 'gvisor', nodeSelector: { nodes: 'runs' } },
      kueue: { queueName: 'runs' },
      tenants: [{ id: 'acme' }],
    });
    const [app] = environmentApps(parseEnvironment('test.yaml', text), 'unused');
    const policies = JSON.stringify(app!.charts[0]!.toJson());
    expect(policies).toContain("a run's priority class is wormhole-run-normal");
    expect(policies).toContain("a run's sandbox is the platform's: runtimeClassName gvisor");
    expect(policies).toContain("a run's nodeSelector contains");
    expect(policies).toContain('kueue.x-k8s.io/*');
  });
});

describe('the wormhole.yaml of an environment', () => {
  it('says what the environment declares, in the words of the controller’s configuration', () => {
    const environment = parseEnvironment(
      'test.yaml',
      JSON.stringify({
        images: { runner: 'runner:1.0', controlPlane: 'control-plane:1.0' },
        allowImageTag: true,
        instance: 'eu',
        kueue: { queueName: 'runs' },
        placement: { runtimeClassName: 'gvisor' },
        tenants: [{ id: 'acme', maxConcurrent: 2 }],
      }),
    );
    expect(parse(wormholeConfig(environment))).toEqual({
      instance: 'eu',
      maxConcurrent: 50,
      tenants: [
        {
          id: 'acme',
          maxConcurrent: 2,
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
      retry: { attempts: 3, initialDelayMs: 1000, maxDelayMs: 30_000 },
      kubernetes: {
        platformNamespace: 'wormhole-system',
        tenantNamespacePrefix: 'wormhole-run',
        runnerImage: 'runner:1.0',
        allowImageTag: true,
        gateway: { service: 'wormhole-gateway', port: 8443, audience: 'wormhole-gateway' },
        egressProxy: { service: 'wormhole-egress-proxy', port: 3128 },
        placement: { priorityClassName: 'eu-run-normal', runtimeClassName: 'gvisor' },
        queueName: 'runs',
        unschedulableTimeoutMs: 30_000,
      },
    });
  });
});
