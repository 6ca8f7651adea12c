import { Construct } from 'constructs';
import { k8s } from '../../imports/k8s.ts';
import { checked } from '../checked.ts';
import { COMPONENTS, componentLabels } from '../labels.ts';
import { ACCOUNTS } from '../platform-names.ts';
import { type PlatformScope, platformScopeSchema } from './platform-scope.ts';

/** The controller's only right on the whole cluster: it sees which namespaces there are, to find its tenants'. */
export class ControllerClusterRole extends Construct {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: PlatformScope) {
    super(scope, id);
    const { instance, platformNamespace } = checked('ControllerClusterRole', platformScopeSchema, props);
    const metadata = {
      name: `${instance}-controller`,
      labels: componentLabels(instance, COMPONENTS.controller),
    };
    new k8s.KubeClusterRole(this, 'role', {
      metadata,
      rules: [{ apiGroups: [''], resources: ['namespaces'], verbs: ['get', 'list'] }],
    });
    new k8s.KubeClusterRoleBinding(this, 'binding', {
      metadata,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: metadata.name },
      subjects: [{ kind: 'ServiceAccount', name: ACCOUNTS.controller, namespace: platformNamespace }],
    });
  }
}
