import { Construct } from 'constructs';
import { z } from 'zod';
import { k8s } from '../../imports/k8s.ts';
import { checked } from '../checked.ts';
import { COMPONENTS, componentLabels, tenantLabels } from '../labels.ts';
import { dnsLabelSchema } from '../names.ts';
import { EGRESS_PROXY, GATEWAY } from '../platform-names.ts';
import { tenantScope, type TenantScope } from './tenant-namespace.ts';

export interface TenantNetworkPolicyProps extends TenantScope {
  /** Where the gateway and the egress proxy are. */
  readonly platformNamespace: string;
  /**
   * The port of the gateway's pods.
   * @default 8443
   */
  readonly gatewayPort?: number;
  /**
   * The port of the egress proxy's pods.
   * @default 3128
   */
  readonly egressProxyPort?: number;
}

const port = z.int().min(1).max(65_535);
const propsSchema = z.strictObject({
  ...tenantScope,
  platformNamespace: dnsLabelSchema,
  gatewayPort: port.default(GATEWAY.port),
  egressProxyPort: port.default(EGRESS_PROXY.port),
});

/**
 * Nothing comes in, and a run reaches the gateway and the egress proxy: no DNS, no metadata address, no API server,
 * no other pod. Other pods in the namespace reach nothing at all.
 * https://kubernetes.io/docs/concepts/services-networking/network-policies/
 */
export class TenantNetworkPolicy extends Construct {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: TenantNetworkPolicyProps) {
    super(scope, id);
    const policy = checked('TenantNetworkPolicy', propsSchema, props);
    const { instance, tenantId, namespace } = policy;
    const labels = tenantLabels(instance, tenantId);
    const pods = (component: 'gateway' | 'egress-proxy', podPort: number): k8s.NetworkPolicyEgressRule => ({
      to: [
        {
          namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': policy.platformNamespace } },
          podSelector: { matchLabels: componentLabels(instance, component) },
        },
      ],
      ports: [{ protocol: 'TCP', port: k8s.IntOrString.fromNumber(podPort) }],
    });

    new k8s.KubeNetworkPolicy(this, 'deny-all', {
      metadata: { name: 'deny-all', namespace, labels },
      spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] },
    });
    new k8s.KubeNetworkPolicy(this, 'run-egress', {
      metadata: { name: 'run-egress', namespace, labels },
      spec: {
        podSelector: { matchLabels: componentLabels(instance, COMPONENTS.run) },
        policyTypes: ['Egress'],
        egress: [
          pods(COMPONENTS.gateway, policy.gatewayPort),
          pods(COMPONENTS.egressProxy, policy.egressProxyPort),
        ],
      },
    });
  }
}
