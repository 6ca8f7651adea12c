import { Construct } from 'constructs';
import { k8s } from '../../imports/k8s.ts';
import { checked } from '../checked.ts';
import { COMPONENTS, componentLabels } from '../labels.ts';
import { ACCOUNTS, EGRESS_PROXY, GATEWAY } from '../platform-names.ts';
import { type PlatformScope, platformScopeSchema } from './platform-scope.ts';

/** The controller's right in the platform's namespace: the addresses of the two services that runs may reach. */
export class ControllerPlatformRole extends Construct {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: PlatformScope) {
    super(scope, id);
    const { instance, platformNamespace } = checked('ControllerPlatformRole', platformScopeSchema, props);
    const metadata = {
      name: 'wormhole-controller',
      namespace: platformNamespace,
      labels: componentLabels(instance, COMPONENTS.controller),
    };
    new k8s.KubeRole(this, 'role', {
      metadata,
      rules: [
        {
          apiGroups: [''],
          resources: ['services'],
          resourceNames: [GATEWAY.service, EGRESS_PROXY.service],
          verbs: ['get'],
        },
      ],
    });
    new k8s.KubeRoleBinding(this, 'binding', {
      metadata,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: metadata.name },
      subjects: [{ kind: 'ServiceAccount', name: ACCOUNTS.controller, namespace: platformNamespace }],
    });
  }
}
