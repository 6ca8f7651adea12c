import { Construct } from 'constructs';
import { checked } from '../checked.ts';
import { COMPONENTS } from '../labels.ts';
import { ACCOUNTS, GATEWAY } from '../platform-names.ts';
import { type ControlPlaneComponentProps, controlPlaneComponentSchema } from './control-plane-props.ts';
import { SECRETS } from './control-plane-secrets.ts';
import { ControlPlaneWorkload } from './control-plane-workload.ts';
import { RunIngress } from './run-ingress.ts';

/** Requests in flight are answered; runs say the rest to another replica. */
const TERMINATION_SECONDS = 60;
const LINGER_SECONDS = 5;

/**
 * The run gateway with its Service. It has no right of ours on the cluster: its service account's token is for
 * the keys by which the cluster signs tokens, which every service account may read.
 */
export class Gateway extends Construct {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: ControlPlaneComponentProps) {
    super(scope, id);
    const component = checked('Gateway', controlPlaneComponentSchema, props);
    const { instance, platformNamespace } = component;
    new ControlPlaneWorkload(
      this,
      'workload',
      {
        component: COMPONENTS.gateway,
        command: 'gateway',
        serviceAccountName: ACCOUNTS.gateway,
        apiAccess: true,
        port: { name: 'gateway', containerPort: GATEWAY.port },
        secrets: [SECRETS.database, SECRETS.logs, SECRETS.encryption, SECRETS.egressGrants, SECRETS.local],
        tls: ['tls.crt', 'tls.key', 'ca.crt'],
        terminationGracePeriodSeconds: TERMINATION_SECONDS,
        lingerSeconds: LINGER_SECONDS,
      },
      component,
    );
    new RunIngress(this, 'ingress', {
      instance,
      platformNamespace,
      component: COMPONENTS.gateway,
      name: GATEWAY.service,
      port: GATEWAY.port,
    });
  }
}
