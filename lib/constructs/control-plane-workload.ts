import { ApiObject, type ApiObjectProps, JsonPatch } from 'cdk8s';
import { Construct } from 'constructs';
import { k8s } from '../../imports/k8s.ts';
import { ANNOTATIONS, type Component, componentLabels } from '../labels.ts';
import { type ComponentPod, controlPlanePod } from './control-plane-pod.ts';
import type { CheckedControlPlaneComponentProps } from './control-plane-props.ts';

/** A component of the control plane as its construct describes it. */
export interface Workload extends ComponentPod {
  /** Also the name of everything that it has. */
  readonly component: Component;
  /**
   * Seconds that a pod goes on serving when it is told to end, until every node knows that it is no longer an endpoint
   * of its Service.
   */
  readonly lingerSeconds?: number;
}

/** How long a rollout may make no progress before it counts as failed. */
const PROGRESS_SECONDS = 300;
const OLD_REPLICA_SETS = 3;

/**
 * The Deployment of one component with its service account and disruption budget. A rollout starts a pod before it
 * ends another, and one pod at a time may be evicted.
 */
export class ControlPlaneWorkload extends Construct {
  /** The Deployment, for JSON patches of what there is no property for. */
  readonly deployment: ApiObject;
  /** The labels by which its pods are selected. */
  readonly labels: Record<string, string>;

  constructor(scope: Construct, id: string, workload: Workload, props: CheckedControlPlaneComponentProps) {
    super(scope, id);
    this.labels = componentLabels(props.instance, workload.component);
    const metadata = {
      name: workload.serviceAccountName,
      namespace: props.platformNamespace,
      labels: this.labels,
    };
    new k8s.KubeServiceAccount(this, 'account', { metadata, automountServiceAccountToken: false });
    const manifest = k8s.KubeDeployment.manifest({
      metadata,
      spec: {
        replicas: props.size.replicas,
        revisionHistoryLimit: OLD_REPLICA_SETS,
        progressDeadlineSeconds: PROGRESS_SECONDS,
        selector: { matchLabels: this.labels },
        strategy: {
          type: 'RollingUpdate',
          rollingUpdate: {
            maxUnavailable: k8s.IntOrString.fromNumber(0),
            maxSurge: k8s.IntOrString.fromNumber(1),
          },
        },
        template: {
          metadata: { labels: this.labels, annotations: { [ANNOTATIONS.config]: props.configDigest } },
          spec: controlPlanePod(workload, props, this.labels),
        },
      },
    }) as ApiObjectProps;
    // Not new KubeDeployment: what a patch adds and Kubernetes 1.28 did not know, it would drop again.
    this.deployment = new ApiObject(this, 'deployment', manifest);
    if (workload.lingerSeconds !== undefined) {
      this.deployment.addJsonPatch(
        JsonPatch.add('/spec/template/spec/containers/0/lifecycle', {
          preStop: { sleep: { seconds: workload.lingerSeconds } },
        }),
      );
    }
    new k8s.KubePodDisruptionBudget(this, 'disruption-budget', {
      metadata,
      spec: {
        selector: { matchLabels: this.labels },
        // Not minAvailable: with a single replica that would block every drain of its node.
        maxUnavailable: k8s.IntOrString.fromNumber(1),
        unhealthyPodEvictionPolicy: 'AlwaysAllow',
      },
    });
  }
}
