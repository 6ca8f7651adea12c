import { Construct } from 'constructs';
import { k8s } from '../../imports/k8s.ts';
import { checked } from '../checked.ts';
import { COMPONENTS, componentLabels } from '../labels.ts';
import { type PlatformScope, platformScopeSchema } from './platform-scope.ts';

/**
 * Nothing comes into the platform's namespace but what a component's own policy lets in. Probes come from the node,
 * which network policies do not concern. What goes out is not limited: databases, token endpoints and, for the egress
 * proxy, the internet; see `EgressProxyFqdnPolicy`.
 */
export class PlatformNetworkPolicy extends Construct {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: PlatformScope) {
    super(scope, id);
    const { instance, platformNamespace } = checked('PlatformNetworkPolicy', platformScopeSchema, props);
    new k8s.KubeNetworkPolicy(this, 'deny-ingress', {
      metadata: {
        name: 'deny-ingress',
        namespace: platformNamespace,
        labels: componentLabels(instance, COMPONENTS.platform),
      },
      spec: { podSelector: {}, policyTypes: ['Ingress'] },
    });
  }
}
