import { Construct } from 'constructs';
import { z } from 'zod';
import { k8s } from '../../imports/k8s.ts';
import { checked } from '../checked.ts';
import { tenantLabels } from '../labels.ts';
import { countQuantity } from '../quantity.ts';
import { runResources, runSizeSchema, type RunSize } from '../run-size.ts';
import { tenantScope, type TenantScope } from './tenant-namespace.ts';

export interface TenantQuotaProps extends TenantScope {
  /** The tenant's cap: runs that may exist at once. */
  readonly maxConcurrent: number;
  /**
   * The largest run of the tenant.
   * @default - 1 core, 512 MiB of memory, 64 MiB of it for /tmp
   */
  readonly size?: RunSize;
}

const propsSchema = z.strictObject({
  ...tenantScope,
  maxConcurrent: z.int().min(1).max(100_000),
  size: runSizeSchema,
});

/** A Job that ended stays for five minutes, and a run takes up its slot for more than a third of a second. */
const JOBS_PER_SLOT = 1000;

/**
 * The tenant's cap as the cluster holds it: as many pods as the cap says fit, one more does not, and no pod is larger
 * than a run. Pods that have ended do not count. What runs use together is not summed up: the quota would add the
 * overhead of their runtime class, which the limits do not know, and fewer runs than the cap would fit.
 *
 * Jobs are bounded too, far above what honest load leaves behind, so that a controller that is out of hand does not
 * fill the cluster's store.
 * https://kubernetes.io/docs/concepts/policy/resource-quotas/
 */
export class TenantQuota extends Construct {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: TenantQuotaProps) {
    super(scope, id);
    const { instance, tenantId, namespace, maxConcurrent, size } = checked('TenantQuota', propsSchema, props);
    const labels = tenantLabels(instance, tenantId);
    const perRun = runResources(size);

    new k8s.KubeResourceQuota(this, 'quota', {
      metadata: { name: 'tenant-quota', namespace, labels },
      spec: {
        hard: {
          pods: countQuantity(maxConcurrent),
          'count/jobs.batch': countQuantity(maxConcurrent * JOBS_PER_SLOT),
          services: countQuantity(0),
          persistentvolumeclaims: countQuantity(0),
        },
      },
    });
    new k8s.KubeLimitRange(this, 'limits', {
      metadata: { name: 'run-size', namespace, labels },
      spec: {
        limits: [
          { type: 'Container', default: perRun, defaultRequest: perRun, max: perRun },
          { type: 'Pod', max: perRun },
        ],
      },
    });
  }
}
