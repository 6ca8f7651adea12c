import { Construct } from 'constructs';
import { z } from 'zod';
import { k8s } from '../../imports/k8s.ts';
import { checked } from '../checked.ts';
import { COMPONENTS, componentLabels, LABELS, MANAGED_BY } from '../labels.ts';
import { dnsLabelSchema } from '../names.ts';
import { PROBES_PORT } from './control-plane-pod.ts';
import { platformScope, type PlatformScope } from './platform-scope.ts';

export interface MetricsNetworkPolicyProps extends PlatformScope {
  /** The namespace that Prometheus runs in. */
  readonly metricsNamespace: string;
}

const propsSchema = z.strictObject({ ...platformScope, metricsNamespace: dnsLabelSchema });

/** Lets Prometheus read the metrics of every component, from its namespace, on the port of the probes. */
export class MetricsNetworkPolicy extends Construct {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: MetricsNetworkPolicyProps) {
    super(scope, id);
    const { instance, platformNamespace, metricsNamespace } = checked(
      'MetricsNetworkPolicy',
      propsSchema,
      props,
    );
    new k8s.KubeNetworkPolicy(this, 'metrics', {
      metadata: {
        name: 'metrics',
        namespace: platformNamespace,
        labels: componentLabels(instance, COMPONENTS.platform),
      },
      spec: {
        podSelector: { matchLabels: { [LABELS.managedBy]: MANAGED_BY, [LABELS.instance]: instance } },
        policyTypes: ['Ingress'],
        ingress: [
          {
            from: [
              { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': metricsNamespace } } },
            ],
            ports: [
              {
                port: k8s.IntOrString.fromNumber(PROBES_PORT.containerPort),
                protocol: PROBES_PORT.protocol,
              },
            ],
          },
        ],
      },
    });
  }
}
