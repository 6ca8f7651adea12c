import { ApiObject } from 'cdk8s';
import { Construct } from 'constructs';
import { z } from 'zod';
import { checked } from '../checked.ts';
import { type EgressRule, egressRuleSchema, type InternalService, internalServiceSchema } from '../egress.ts';
import { COMPONENTS, componentLabels } from '../labels.ts';
import { platformScope, type PlatformScope } from './platform-scope.ts';

export interface EgressProxyFqdnPolicyProps extends PlatformScope {
  /** The allowlists of all tenants together, in any order. */
  readonly rules: readonly EgressRule[];
  /** The services at private addresses that the operator opened. */
  readonly internalServices: readonly InternalService[];
}

interface PortRule {
  readonly ports: readonly { readonly port: string; readonly protocol: 'TCP' | 'ANY' }[];
  readonly rules?: { readonly dns: readonly { readonly matchPattern: string }[] };
}

/** A rule of a CiliumNetworkPolicy. https://docs.cilium.io/en/stable/security/policy/language/ */
interface CiliumEgressRule {
  readonly toEndpoints?: readonly { readonly matchLabels: Readonly<Record<string, string>> }[];
  readonly toFQDNs?: readonly ({ readonly matchName: string } | { readonly matchPattern: string })[];
  readonly toCIDR?: readonly string[];
  readonly toPorts: readonly PortRule[];
}

const propsSchema = z.strictObject({
  ...platformScope,
  rules: z.array(egressRuleSchema),
  internalServices: z.array(internalServiceSchema),
});

const ports = (...numbers: number[]): readonly PortRule[] => [
  { ports: numbers.map((port) => ({ port: String(port), protocol: 'TCP' })) },
];

const DNS: CiliumEgressRule = {
  toEndpoints: [
    { matchLabels: { 'k8s:io.kubernetes.pod.namespace': 'kube-system', 'k8s:k8s-app': 'kube-dns' } },
  ],
  toPorts: [{ ports: [{ port: '53', protocol: 'ANY' }], rules: { dns: [{ matchPattern: '*' }] } }],
};

/** Cilium's `*` ends at a dot, its `**.` (since 1.18) does not: an allowlist's `*.` covers every depth. */
const selector = (host: string): { matchName: string } | { matchPattern: string } =>
  host.startsWith('*.') ? { matchPattern: `*${host}` } : { matchName: host };

/** One rule for each set of ports, in an order that the order of the allowlists does not change. */
const toNames = (rules: readonly EgressRule[]): CiliumEgressRule[] => {
  const hosts = new Map<number, Set<string>>();
  for (const rule of rules) {
    for (const port of rule.ports) hosts.set(port, (hosts.get(port) ?? new Set()).add(rule.host));
  }
  return [...hosts]
    .sort(([a], [b]) => a - b)
    .map(([port, names]) => ({ toFQDNs: [...names].sort().map(selector), toPorts: ports(port) }));
};

const toAddress = ({ address, targetPort }: InternalService): CiliumEgressRule => ({
  toCIDR: [address.includes(':') ? `${address}/128` : `${address}/32`],
  toPorts: ports(targetPort),
});

/**
 * A CiliumNetworkPolicy (`toFQDNs`) on the egress proxy's own traffic: it reaches the cluster's DNS, the names of all
 * allowlists together and the internal services, so that a proxy that was taken over reaches nothing else.
 *
 * Not one policy per tenant: run pods have no DNS and reach the proxy only, and behind the proxy their traffic is the
 * proxy's. Which tenant may reach which of the names is the proxy's to decide. Needs Cilium 1.18 for names with `*.`;
 * services from the Secret `wormhole-local` are not in it, so an environment with Cilium declares its own.
 */
export class EgressProxyFqdnPolicy extends Construct {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: EgressProxyFqdnPolicyProps) {
    super(scope, id);
    const { instance, platformNamespace, rules, internalServices } = checked(
      'EgressProxyFqdnPolicy',
      propsSchema,
      {
        ...props,
        rules: [...props.rules],
        internalServices: [...props.internalServices],
      },
    );
    const labels = componentLabels(instance, COMPONENTS.egressProxy);
    const spec = {
      endpointSelector: { matchLabels: labels },
      egress: [DNS, ...toNames(rules), ...internalServices.map(toAddress)],
    };
    new ApiObject(this, 'policy', {
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumNetworkPolicy',
      metadata: { name: 'wormhole-egress-proxy-names', namespace: platformNamespace, labels },
      spec,
    });
  }
}
