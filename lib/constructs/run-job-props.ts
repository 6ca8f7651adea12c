import { z } from 'zod';
import { refuseImage } from '../image.ts';
import { dnsLabelSchema, tenantIdSchema, ownNamespaceSchema, uuidSchema } from '../names.ts';
import { type RunPodProps, runPodShape } from './run-pod-props.ts';

export interface RunJobProps extends RunPodProps {
  /** A UUID in lower case. */
  readonly runId: string;
  /** Counts from 1. */
  readonly attempt: number;
  readonly tenantId: string;
  /** A UUID in lower case. */
  readonly workflowVersionId: string;
  /** The platform instance that the run belongs to. */
  readonly instance: string;
  /** The tenant's namespace; neither `default` nor one of Kubernetes' own. */
  readonly namespace: string;
  /**
   * Seconds from the Job's start, the wait for a node and the image included, to its forced end. Kubernetes then
   * deletes the pod with its exit code, so the run's own deadline has to be earlier.
   */
  readonly deadlineSeconds: number;
  /**
   * The Kueue LocalQueue, in the tenant's namespace, that admits the Job. Kueue's webhook suspends a Job with a queue
   * and resumes it when its turn comes, so none is created suspended here: without Kueue it just runs. Waiting counts
   * towards the claim timeout, not towards `deadlineSeconds`. The queue must not preempt: a Job that is suspended and
   * resumed gets a second pod, which is refused the payload. https://kueue.sigs.k8s.io/docs/tasks/run/jobs/
   * @default - no queue
   */
  readonly queueName?: string;
}

/** The longest run is 24 hours; one more is left for the node and the image. */
const MAX_DEADLINE_SECONDS = 25 * 60 * 60;

export const runJobPropsSchema = z
  .strictObject({
    ...runPodShape,
    runId: uuidSchema,
    attempt: z.int().min(1).max(1000),
    tenantId: tenantIdSchema,
    workflowVersionId: uuidSchema,
    instance: dnsLabelSchema,
    namespace: ownNamespaceSchema,
    deadlineSeconds: z.int().min(1).max(MAX_DEADLINE_SECONDS),
    queueName: dnsLabelSchema.exactOptional(),
  })
  .superRefine(({ image, allowImageTag }, context) => refuseImage(context, ['image'], image, allowImageTag));

/** The properties with their defaults filled in. */
export type CheckedRunJobProps = z.output<typeof runJobPropsSchema>;
