import { Construct } from 'constructs';
import { z } from 'zod';
import { k8s } from '../../imports/k8s.ts';
import { checked } from '../checked.ts';
import { tenantLabels } from '../labels.ts';
import { instanceSchema, ownNamespaceSchema, tenantIdSchema } from '../names.ts';
import { RESTRICTED_NAMESPACE } from '../pod-security.ts';

/** What all parts of a tenant have in common. */
export interface TenantScope {
  readonly tenantId: string;
  /** The platform instance that the tenant belongs to. */
  readonly instance: string;
  /** The tenant's own namespace, in which its runs are. */
  readonly namespace: string;
}

export const tenantScope = {
  tenantId: tenantIdSchema,
  instance: instanceSchema,
  namespace: ownNamespaceSchema,
};

/** A tenant's namespace, in which Pod Security `restricted` is enforced, audited and warned about. */
export class TenantNamespace extends Construct {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: TenantScope) {
    super(scope, id);
    const { instance, tenantId, namespace } = checked('TenantNamespace', z.strictObject(tenantScope), props);
    new k8s.KubeNamespace(this, 'namespace', {
      metadata: { name: namespace, labels: { ...tenantLabels(instance, tenantId), ...RESTRICTED_NAMESPACE } },
    });
  }
}
