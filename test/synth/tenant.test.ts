import { App } from 'cdk8s';
import { describe, expect, it } from 'vitest';
import {
  InvalidValueError,
  TenantChart,
  type TenantChartProps,
  TenantNetworkPolicy,
  TenantQuota,
} from '../../lib/index.ts';
import { manifestsOf, REQUIRED_PROPS, runJobManifest } from './run-job-manifest.ts';

interface KubeObject {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels: Record<string, string>;
  };
  readonly spec: Record<string, unknown>;
}

const TENANT: TenantChartProps = {
  tenantId: 'acme',
  instance: 'wormhole',
  namespace: 'wormhole-run-acme',
  platformNamespace: 'wormhole-system',
  maxConcurrent: 4,
};

const objects = new TenantChart(new App(), 'tenant-acme', TENANT).toJson() as KubeObject[];
const named = (kind: string, name: string): KubeObject =>
  objects.find((object) => object.kind === kind && object.metadata.name === name)!;

/** Whether a label selector's matchLabels hold. */
const selects = (
  selector: { matchLabels?: Record<string, string> },
  labels: Record<string, string>,
): boolean => Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value);

describe('TenantChart', () => {
  it('renders a tenant', () => {
    expect(objects).toMatchSnapshot();
  });

  it('starts with the namespace and puts all else into it, labelled as the tenant’s', () => {
    expect(objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`)).toEqual([
      'Namespace/wormhole-run-acme',
      'NetworkPolicy/deny-all',
      'NetworkPolicy/run-egress',
      'ResourceQuota/tenant-quota',
      'LimitRange/run-size',
      'ServiceAccount/wormhole-runner',
      'Role/wormhole-controller',
      'RoleBinding/wormhole-controller',
    ]);
    expect(objects[0]!.metadata.namespace).toBeUndefined();
    expect(new Set(objects.slice(1).map(({ metadata }) => metadata.namespace))).toEqual(
      new Set(['wormhole-run-acme']),
    );
    for (const { metadata } of objects) {
      expect(metadata.labels).toMatchObject({
        'wormhole.dev/tenant-id': 'acme',
        'app.kubernetes.io/instance': 'wormhole',
        'app.kubernetes.io/managed-by': 'wormhole',
      });
    }
  });

  it('enforces, audits and warns about the restricted Pod Security level', () => {
    for (const mode of ['enforce', 'audit', 'warn']) {
      expect(objects[0]!.metadata.labels).toMatchObject({
        [`pod-security.kubernetes.io/${mode}`]: 'restricted',
        [`pod-security.kubernetes.io/${mode}-version`]: 'latest',
      });
    }
  });

  it('has the service account that RunJob uses, with no token mounted by itself', () => {
    const { serviceAccountName } = runJobManifest(REQUIRED_PROPS).spec.template.spec!;
    expect(named('ServiceAccount', serviceAccountName!)).toMatchObject({
      automountServiceAccountToken: false,
    });
  });
});

describe('TenantNetworkPolicy', () => {
  it('denies every pod of the namespace all traffic in both directions', () => {
    expect(named('NetworkPolicy', 'deny-all').spec).toEqual({
      podSelector: {},
      policyTypes: ['Ingress', 'Egress'],
    });
  });

  it('lets a run reach the gateway and the egress proxy, and nothing else', () => {
    const platformPods = (component: string) => ({
      namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'wormhole-system' } },
      podSelector: {
        matchLabels: {
          'app.kubernetes.io/managed-by': 'wormhole',
          'app.kubernetes.io/instance': 'wormhole',
          'app.kubernetes.io/component': component,
        },
      },
    });
    const { podSelector, ...rest } = named('NetworkPolicy', 'run-egress').spec;
    expect(rest).toEqual({
      policyTypes: ['Egress'],
      egress: [
        { to: [platformPods('gateway')], ports: [{ protocol: 'TCP', port: 8443 }] },
        { to: [platformPods('egress-proxy')], ports: [{ protocol: 'TCP', port: 3128 }] },
      ],
    });

    const runLabels = { ...runJobManifest(REQUIRED_PROPS).spec.template.metadata!.labels! };
    expect(selects(podSelector as object, runLabels)).toBe(true);
    expect(selects(podSelector as object, { ...runLabels, 'app.kubernetes.io/component': 'pool' })).toBe(
      false,
    );
    expect(selects(podSelector as object, { ...runLabels, 'app.kubernetes.io/instance': 'other' })).toBe(
      false,
    );
  });

  it('never allows anything in, nor an address', () => {
    const text = JSON.stringify(
      manifestsOf((chart) => {
        const { tenantId, instance, namespace, platformNamespace } = TENANT;
        const tenant = { tenantId, instance, namespace, platformNamespace };
        new TenantNetworkPolicy(chart, 'policy', { ...tenant, gatewayPort: 1, egressProxyPort: 65_535 });
      }),
    );
    expect(text).toContain('"port":65535');
    expect(text).not.toContain('"ingress"');
    expect(text).not.toContain('ipBlock');
  });
});

describe('a tenant is refused', () => {
  const refused: readonly (readonly [change: object, message: string])[] = [
    [{ tenantId: 'a/../b' }, 'TenantNamespace: tenantId is "a/../b"; allowed: 1 to 50 lower-case letters'],
    [{ instance: 'x'.repeat(64) }, 'TenantNamespace: instance is '],
    [
      { namespace: 'kube-public' },
      'TenantNamespace: namespace is "kube-public"; allowed: a namespace of its own',
    ],
    [
      { platformNamespace: '' },
      'TenantNetworkPolicy: platformNamespace is ""; allowed: 1 to 63 lower-case letters',
    ],
    [{ maxConcurrent: 0 }, 'TenantQuota: maxConcurrent is 0; allowed: at least 1'],
    [{ maxConcurrent: 100_001 }, 'TenantQuota: maxConcurrent is 100001; allowed: at most 100000'],
    [{ size: { memoryMb: 0.5 } }, 'TenantQuota: size.memoryMb is 0.5; allowed: a whole number'],
  ];

  it.each(refused)('with %j', (change, message) => {
    const render = () => new TenantChart(new App(), 'tenant', { ...TENANT, ...change });
    expect(render).toThrow(InvalidValueError);
    expect(render).toThrow(message);
  });

  it('with a property that does not exist', () => {
    const props = { ...TENANT, unlimited: true };
    expect(() => manifestsOf((chart) => new TenantQuota(chart, 'quota', props))).toThrow(
      'TenantQuota: unlimited is true; allowed: no key of this name',
    );
  });
});
