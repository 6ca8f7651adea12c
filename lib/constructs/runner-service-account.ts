import { Construct } from 'constructs';
import { z } from 'zod';
import { k8s } from '../../imports/k8s.ts';
import { checked } from '../checked.ts';
import { tenantLabels } from '../labels.ts';
import { ACCOUNTS } from '../platform-names.ts';
import { tenantScope, type TenantScope } from './tenant-namespace.ts';

/** The service account of a tenant's runs: bound to no role, mounted nowhere by default. */
export class RunnerServiceAccount extends Construct {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: TenantScope) {
    super(scope, id);
    const { instance, tenantId, namespace } = checked(
      'RunnerServiceAccount',
      z.strictObject(tenantScope),
      props,
    );
    new k8s.KubeServiceAccount(this, 'account', {
      metadata: { name: ACCOUNTS.runner, namespace, labels: tenantLabels(instance, tenantId) },
      automountServiceAccountToken: false,
    });
  }
}
