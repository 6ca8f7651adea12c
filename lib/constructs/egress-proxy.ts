import { Construct } from 'constructs';
import { checked } from '../checked.ts';
import { COMPONENTS } from '../labels.ts';
import { ACCOUNTS, EGRESS_PROXY } from '../platform-names.ts';
import { type ControlPlaneComponentProps, controlPlaneComponentSchema } from './control-plane-props.ts';
import { SECRETS } from './control-plane-secrets.ts';
import { ControlPlaneWorkload } from './control-plane-workload.ts';
import { RunIngress } from './run-ingress.ts';

/** A tunnel that is open may be in the middle of a request. */
const TERMINATION_SECONDS = 60;
const LINGER_SECONDS = 5;

/** The egress proxy with its Service. It has no access to the API server. */
export class EgressProxy extends Construct {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: ControlPlaneComponentProps) {
    super(scope, id);
    const component = checked('EgressProxy', controlPlaneComponentSchema, props);
    const { instance, platformNamespace } = component;
    new ControlPlaneWorkload(
      this,
      'workload',
      {
        component: COMPONENTS.egressProxy,
        command: 'egress-proxy',
        serviceAccountName: ACCOUNTS.egressProxy,
        apiAccess: false,
        port: { name: 'egress-proxy', containerPort: EGRESS_PROXY.port },
        secrets: [SECRETS.egressGrants, SECRETS.local],
        terminationGracePeriodSeconds: TERMINATION_SECONDS,
        lingerSeconds: LINGER_SECONDS,
      },
      component,
    );
    new RunIngress(this, 'ingress', {
      instance,
      platformNamespace,
      component: COMPONENTS.egressProxy,
      name: EGRESS_PROXY.service,
      port: EGRESS_PROXY.port,
    });
  }
}
