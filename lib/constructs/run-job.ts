import { ApiObject, type ApiObjectProps } from 'cdk8s';
import { Construct } from 'constructs';
import { k8s } from '../../imports/k8s.ts';
import { checked } from '../checked.ts';
import { digestOf } from '../digest.ts';
import { ANNOTATIONS, COMPONENTS, componentLabels, LABELS } from '../labels.ts';
import { type CheckedRunJobProps, runJobPropsSchema, type RunJobProps } from './run-job-props.ts';
import { RUN_POD_ANNOTATIONS, runPod } from './run-pod.ts';

/** Long enough to look at a Job that ended; nothing waits for it. */
const TTL_SECONDS = 300;

const QUEUE_LABEL = 'kueue.x-k8s.io/queue-name';

/** @returns the name of the attempt's Job: the same for every controller, so a second create is a conflict. */
export const runJobName = (runId: string, attempt: number): string => `run-${runId}-${attempt}`;

const specDigest = (run: CheckedRunJobProps): string => digestOf({ ...run, deadlineSeconds: undefined });

/**
 * The Job's annotation `wormhole.dev/spec`. A create that meets a Job of this name with this digest met its own, made
 * by a call that timed out or by a controller before; with another digest the Job was made by somebody else or from
 * other settings.
 * @returns the SHA-256, in hexadecimal, of all properties with their defaults but the deadline, which a later call
 *   computes from a later clock.
 * @throws {InvalidValueError} with every property that is not allowed.
 */
export const runJobSpecDigest = (props: RunJobProps): string =>
  specDigest(checked('RunJob', runJobPropsSchema, props));

/**
 * One attempt at a run as one Kubernetes Job: one hardened pod that is never started again by Kubernetes. Further
 * attempts are the controller's, because only it knows whether the payload was handed out.
 */
export class RunJob extends Construct {
  /** The Job, for JSON patches of what this construct has no property for. */
  readonly job: ApiObject;

  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: RunJobProps) {
    super(scope, id);
    const run = checked('RunJob', runJobPropsSchema, props);
    const labels = {
      ...componentLabels(run.instance, COMPONENTS.run),
      [LABELS.tenantId]: run.tenantId,
      [LABELS.runId]: run.runId,
      [LABELS.attempt]: String(run.attempt),
      [LABELS.workflowVersionId]: run.workflowVersionId,
      [LABELS.mode]: 'cold',
    };
    const manifest = k8s.KubeJob.manifest({
      metadata: {
        name: runJobName(run.runId, run.attempt),
        namespace: run.namespace,
        labels: run.queueName === undefined ? labels : { ...labels, [QUEUE_LABEL]: run.queueName },
        annotations: { [ANNOTATIONS.spec]: specDigest(run) },
      },
      spec: {
        backoffLimit: 0,
        activeDeadlineSeconds: run.deadlineSeconds,
        ttlSecondsAfterFinished: TTL_SECONDS,
        podReplacementPolicy: 'Failed',
        // FailJob, not Ignore: Ignore would start a second pod of an attempt whose payload may be out already.
        podFailurePolicy: {
          rules: [{ action: 'FailJob', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] }],
        },
        template: { metadata: { labels, annotations: RUN_POD_ANNOTATIONS }, spec: runPod(run) },
      },
    }) as ApiObjectProps;
    // Not new KubeJob: what a patch adds and Kubernetes 1.28 did not know, it would drop again.
    this.job = new ApiObject(this, 'job', manifest);
  }
}
