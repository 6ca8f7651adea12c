import { Construct } from 'constructs';
import { z } from 'zod';
import { k8s } from '../../imports/k8s.ts';
import { checked } from '../checked.ts';
import { tenantLabels } from '../labels.ts';
import { dnsLabelSchema } from '../names.ts';
import { ACCOUNTS } from '../platform-names.ts';
import { tenantScope, type TenantScope } from './tenant-namespace.ts';

export interface ControllerTenantRoleProps extends TenantScope {
  /** Where the controller's service account is. */
  readonly platformNamespace: string;
}

const propsSchema = z.strictObject({ ...tenantScope, platformNamespace: dnsLabelSchema });

/** The controller's rights in one tenant's namespace: it makes, watches and removes runs, and nothing else. */
export class ControllerTenantRole extends Construct {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: ControllerTenantRoleProps) {
    super(scope, id);
    const { instance, tenantId, namespace, platformNamespace } = checked(
      'ControllerTenantRole',
      propsSchema,
      props,
    );
    const metadata = { name: 'wormhole-controller', namespace, labels: tenantLabels(instance, tenantId) };
    new k8s.KubeRole(this, 'role', {
      metadata,
      rules: [
        { apiGroups: ['batch'], resources: ['jobs'], verbs: ['create', 'get', 'list', 'watch', 'delete'] },
        { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch', 'delete'] },
        { apiGroups: [''], resources: ['events'], verbs: ['get', 'list'] },
      ],
    });
    new k8s.KubeRoleBinding(this, 'binding', {
      metadata,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: metadata.name },
      subjects: [{ kind: 'ServiceAccount', name: ACCOUNTS.controller, namespace: platformNamespace }],
    });
  }
}
