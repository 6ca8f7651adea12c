import type { Exit } from '../../model/exit.ts';
import { holds, type Job, type KubeEvent } from './objects.ts';

/**
 * Says why a Job has no pod, and never will have one, from the Job and the events about it. Pure. The Job controller
 * tells of a pod that it could not create in an event only, and tries again later and later.
 * @param job undefined when it is gone.
 * @param hadPod there was a pod, which is gone.
 * @returns undefined while a pod may still come.
 */
export function jobExit(
  job: Job | undefined,
  events: readonly Pick<KubeEvent, 'reason' | 'message'>[],
  hadPod: boolean,
): Exit | undefined {
  const ended = (kind: 'lost' | 'unstarted', at: Date, cause?: Exit['cause']): Exit => ({
    kind: kind === 'unstarted' && hadPod ? 'lost' : kind,
    exitCode: null,
    oomKilled: false,
    at,
    ...(cause === undefined ? {} : { cause }),
  });
  if (job === undefined) return ended('lost', new Date());
  const failed = holds(job.status.conditions, 'Failed') ?? holds(job.status.conditions, 'FailureTarget');
  const at = failed?.lastTransitionTime ?? new Date();
  if (failed?.reason === 'DeadlineExceeded') {
    return ended('unstarted', at, {
      reason: 'DEADLINE_EXCEEDED',
      message: `the Job was ended at its deadline: ${failed.message}`,
    });
  }
  const complete = holds(job.status.conditions, 'Complete');
  if (failed !== undefined || complete !== undefined || job.metadata.deletionTimestamp !== undefined) {
    return ended('lost', at);
  }
  if (hadPod || job.status.active > 0) return undefined;
  const cause = events
    .filter((event) => event.reason === 'FailedCreate')
    .map((event) => refusalCause(event.message))
    .find((found) => found !== undefined);
  return cause && ended('unstarted', new Date(), cause);
}

function refusalCause(message: string): Exit['cause'] {
  if (/exceeded quota/.test(message)) {
    return { reason: 'QUOTA_EXCEEDED', message: `the tenant's quota refuses the pod: ${message}` };
  }
  return REFUSED.test(message)
    ? { reason: 'ADMISSION_DENIED', message: `the cluster refuses the pod: ${message}` }
    : // The API server, or what it asks, failed: the Job controller's next try may get through.
      undefined;
}

/** Pod Security, an admission policy, a webhook, a LimitRange, a missing service account, a field that is wrong. */
const REFUSED = /forbidden|denied (?:the )?request|is invalid|violates/;
