import { Construct } from 'constructs';
import { checked } from '../checked.ts';
import { COMPONENTS } from '../labels.ts';
import { ACCOUNTS } from '../platform-names.ts';
import { type ControlPlaneComponentProps, controlPlaneComponentSchema } from './control-plane-props.ts';
import { SECRETS } from './control-plane-secrets.ts';
import { ControlPlaneWorkload } from './control-plane-workload.ts';
import { ControllerPlatformRole } from './controller-platform-role.ts';

/** It gives up the lead at once and leaves live runs to the replica that takes it. */
const TERMINATION_SECONDS = 30;

/** The controller: one replica leads, the others stand by. Nothing connects to it. */
export class Controller extends Construct {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: ControlPlaneComponentProps) {
    super(scope, id);
    const component = checked('Controller', controlPlaneComponentSchema, props);
    const { instance, platformNamespace } = component;
    new ControlPlaneWorkload(
      this,
      'workload',
      {
        component: COMPONENTS.controller,
        command: 'controller',
        serviceAccountName: ACCOUNTS.controller,
        apiAccess: true,
        secrets: [SECRETS.database, SECRETS.logs, SECRETS.queue, SECRETS.traces],
        // It tells each run whom to trust; only the gateway has the key.
        tls: ['ca.crt'],
        terminationGracePeriodSeconds: TERMINATION_SECONDS,
      },
      component,
    );
    new ControllerPlatformRole(this, 'role', { instance, platformNamespace });
  }
}
