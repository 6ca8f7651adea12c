import { Construct } from 'constructs';
import { k8s } from '../../imports/k8s.ts';
import { type Component, COMPONENTS, componentLabels } from '../labels.ts';

/** What runs may reach in the platform's namespace. */
export interface RunIngressProps {
  readonly instance: string;
  readonly platformNamespace: string;
  /** The component whose pods take runs. */
  readonly component: Component;
  /** Also the name of the component's Service. */
  readonly name: string;
  /** The one port, of the pods and of the Service. */
  readonly port: number;
}

/** A Service that run pods of this instance's tenant namespaces reach on one port, and nobody else does. */
export class RunIngress extends Construct {
  constructor(scope: Construct, id: string, props: RunIngressProps) {
    super(scope, id);
    const { instance, platformNamespace, component, name, port } = props;
    const labels = componentLabels(instance, component);
    const metadata = { name, namespace: platformNamespace, labels };
    const number = k8s.IntOrString.fromNumber(port);
    new k8s.KubeService(this, 'service', {
      metadata,
      spec: {
        type: 'ClusterIP',
        selector: labels,
        ports: [{ name: component, port, targetPort: number, protocol: 'TCP' }],
      },
    });
    new k8s.KubeNetworkPolicy(this, 'ingress', {
      metadata,
      spec: {
        podSelector: { matchLabels: labels },
        policyTypes: ['Ingress'],
        ingress: [
          {
            from: [
              {
                namespaceSelector: { matchLabels: componentLabels(instance, COMPONENTS.tenant) },
                podSelector: { matchLabels: componentLabels(instance, COMPONENTS.run) },
              },
            ],
            ports: [{ protocol: 'TCP', port: number }],
          },
        ],
      },
    });
  }
}
