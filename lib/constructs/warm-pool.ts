import { Construct } from 'constructs';
import { z } from 'zod';
import { k8s } from '../../imports/k8s.ts';
import { checked } from '../checked.ts';
import { refuseImage } from '../image.ts';
import { COMPONENTS, componentLabels, LABELS, POOL_LABEL } from '../labels.ts';
import { dnsLabelSchema, ownNamespaceSchema } from '../names.ts';
import { RUN_POD_ANNOTATIONS, runPod } from './run-pod.ts';
import { type RunPodProps, runPodShape } from './run-pod-props.ts';

export interface WarmPoolProps extends RunPodProps {
  /** The pool's name: a label value, and part of the Deployment's name. */
  readonly pool: string;
  /** The platform instance that the pool belongs to. */
  readonly instance: string;
  /** A namespace for pools, apart from those of tenants. */
  readonly namespace: string;
  /** How many runners wait at a time. */
  readonly replicas: number;
}

/** The label and the Deployment `wormhole-pool-<name>` are at most 63 characters. */
const POOL_CHARACTERS = 49;

const propsSchema = z
  .strictObject({
    ...runPodShape,
    pool: dnsLabelSchema.max(POOL_CHARACTERS),
    instance: dnsLabelSchema,
    namespace: ownNamespaceSchema,
    replicas: z.int().min(0).max(10_000),
  })
  .superRefine(({ image, allowImageTag }, context) => refuseImage(context, ['image'], image, allowImageTag));

/**
 * Idle runners, each in a pod like a run's. A runner is claimed by a patch that changes its component label: the
 * ReplicaSet lets go of it and starts another. Only a quarter of a pool is evicted at a time.
 *
 * The runner of this version claims its payload as soon as it starts and does not wait in a pool, so no environment
 * takes pools yet. The pool's namespace, its network policies and quota are not part of this construct.
 */
export class WarmPool extends Construct {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: WarmPoolProps) {
    super(scope, id);
    const pool = checked('WarmPool', propsSchema, props);
    const labels = {
      ...componentLabels(pool.instance, COMPONENTS.pool),
      [POOL_LABEL]: pool.pool,
      [LABELS.mode]: 'warm',
    };
    const metadata = { name: `wormhole-pool-${pool.pool}`, namespace: pool.namespace, labels };
    new k8s.KubeDeployment(this, 'deployment', {
      metadata,
      spec: {
        replicas: pool.replicas,
        revisionHistoryLimit: 1,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels, annotations: RUN_POD_ANNOTATIONS },
          // A Deployment takes no other policy; a claimed pod is deleted before it would start again.
          spec: { ...runPod(pool), restartPolicy: 'Always' },
        },
      },
    });
    new k8s.KubePodDisruptionBudget(this, 'disruption-budget', {
      metadata,
      spec: {
        selector: { matchLabels: labels },
        maxUnavailable: k8s.IntOrString.fromString('25%'),
        unhealthyPodEvictionPolicy: 'AlwaysAllow',
      },
    });
  }
}
