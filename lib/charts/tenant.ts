import { Chart } from 'cdk8s';
import type { Construct } from 'constructs';
import { ControllerTenantRole } from '../constructs/controller-tenant-role.ts';
import { RunnerServiceAccount } from '../constructs/runner-service-account.ts';
import { TenantNamespace, type TenantScope } from '../constructs/tenant-namespace.ts';
import { TenantNetworkPolicy } from '../constructs/tenant-network-policy.ts';
import { TenantQuota } from '../constructs/tenant-quota.ts';
import type { RunSize } from '../run-size.ts';

export interface TenantChartProps extends TenantScope {
  /** Where the gateway and the egress proxy are. */
  readonly platformNamespace: string;
  /** The tenant's cap: runs that may exist at once. */
  readonly maxConcurrent: number;
  /**
   * The largest run of the tenant.
   * @default - 1 core, 512 MiB of memory, 64 MiB of it for /tmp
   */
  readonly size?: RunSize;
}

/** All that a cluster holds for one tenant before its first run: namespace, isolation, cap, identities. */
export class TenantChart extends Chart {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: TenantChartProps) {
    super(scope, id);
    const { tenantId, instance, namespace, platformNamespace, maxConcurrent, size } = props;
    const tenant = { tenantId, instance, namespace };
    new TenantNamespace(this, 'namespace', tenant);
    new TenantNetworkPolicy(this, 'network-policy', { ...tenant, platformNamespace });
    new TenantQuota(this, 'quota', { ...tenant, maxConcurrent, ...(size && { size }) });
    new RunnerServiceAccount(this, 'runner', tenant);
    new ControllerTenantRole(this, 'controller', { ...tenant, platformNamespace });
  }
}
