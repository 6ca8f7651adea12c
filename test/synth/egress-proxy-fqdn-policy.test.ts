import { describe, expect, it } from 'vitest';
import {
  EgressProxyFqdnPolicy,
  type EgressProxyFqdnPolicyProps,
  environmentApps,
  parseEnvironment,
} from '../../lib/index.ts';
import { DIGEST, manifestsOf } from './run-job-manifest.ts';

const PROPS: EgressProxyFqdnPolicyProps = {
  instance: 'wormhole',
  platformNamespace: 'wormhole-system',
  rules: [
    { host: 'b.example', ports: [443] },
    { host: 'a.example', ports: [443, 8443] },
    { host: '*.c.example', ports: [443] },
    { host: 'b.example', ports: [443] },
  ],
  internalServices: [
    { host: 'crm.internal', port: 80, address: '10.20.0.5', targetPort: 8080 },
    { host: 'erp.internal', port: 80, address: 'fd00::5', targetPort: 8081 },
  ],
};
const render = (props: EgressProxyFqdnPolicyProps) =>
  manifestsOf((chart) => new EgressProxyFqdnPolicy(chart, 'policy', props))[0] as {
    spec: { egress: unknown[] };
  };
const ports = (port: string) => [{ ports: [{ port, protocol: 'TCP' }] }];

describe('EgressProxyFqdnPolicy', () => {
  it('holds the egress proxy to DNS, the names of all allowlists together and the internal services', () => {
    expect(render(PROPS)).toMatchObject({
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumNetworkPolicy',
      metadata: { namespace: 'wormhole-system' },
      spec: {
        endpointSelector: {
          matchLabels: {
            'app.kubernetes.io/managed-by': 'wormhole',
            'app.kubernetes.io/instance': 'wormhole',
            'app.kubernetes.io/component': 'egress-proxy',
          },
        },
      },
    });
    const [dns, ...rest] = render(PROPS).spec.egress;
    expect(dns).toMatchObject({
      toEndpoints: [{ matchLabels: { 'k8s:io.kubernetes.pod.namespace': 'kube-system' } }],
      toPorts: [{ ports: [{ port: '53', protocol: 'ANY' }], rules: { dns: [{ matchPattern: '*' }] } }],
    });
    expect(rest).toEqual([
      {
        toFQDNs: [{ matchPattern: '**.c.example' }, { matchName: 'a.example' }, { matchName: 'b.example' }],
        toPorts: ports('443'),
      },
      { toFQDNs: [{ matchName: 'a.example' }], toPorts: ports('8443') },
      { toCIDR: ['10.20.0.5/32'], toPorts: ports('8080') },
      { toCIDR: ['fd00::5/128'], toPorts: ports('8081') },
    ]);
  });

  it('does not change with the order of the allowlists', () => {
    expect(render({ ...PROPS, rules: [...PROPS.rules].reverse() })).toEqual(render(PROPS));
  });

  it('is rendered for an environment with Cilium, from the allowlists that are in force', () => {
    const kindsAndNames = (cilium: boolean): string => {
      const environment = parseEnvironment(
        'test.yaml',
        JSON.stringify({
          images: { runner: `runner@${DIGEST}`, controlPlane: `control-plane@${DIGEST}` },
          cilium,
          egress: { mode: 'allowlist', allow: [{ host: 'default.example' }] },
          tenants: [
            { id: 'a' },
            { id: 'b', egress: { mode: 'allowlist', allow: [{ host: 'b.example' }] } },
            { id: 'c', egress: { mode: 'deny', allow: [{ host: 'denied.example' }] } },
          ],
        }),
      );
      const controlPlane = environmentApps(environment, 'unused').at(-1);
      const policies = (controlPlane!.charts[0]!.toJson() as { kind: string }[]).filter(
        ({ kind }) => kind === 'CiliumNetworkPolicy',
      );
      return JSON.stringify(policies);
    };
    expect(kindsAndNames(false)).toBe('[]');
    expect(kindsAndNames(true)).toContain('[{"matchName":"b.example"},{"matchName":"default.example"}]');
    expect(kindsAndNames(true)).not.toContain('denied.example');
  });

  it.each([
    [{ rules: [{ host: '10.0.0.1', ports: [443] }] }, 'EgressProxyFqdnPolicy: rules[0].host is "10.0.0.1"'],
    [{ platformNamespace: '' }, 'EgressProxyFqdnPolicy: platformNamespace is ""'],
  ])('refuses %j', (change, message) => {
    expect(() => render({ ...PROPS, ...change })).toThrow(message);
  });
});
