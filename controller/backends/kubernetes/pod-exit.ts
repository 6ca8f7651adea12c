import type { Exit, ExitReason } from '../../model/exit.ts';
import { holds, type Pod } from './objects.ts';

/** For what a pod waits that may never come. How long is too long is for the caller to say: clocks may differ. */
export type PodWait =
  /** No node has room for it. */
  | 'node'
  /** Its node misses something that the container refers to, or has only just started and does not know it yet. */
  | 'config'
  /** It was deleted, and its node has not said yet that it ended. */
  | 'end';

/** @returns what the pod waits for, or undefined when it makes progress or has ended. */
export function podWait(pod: Pod): PodWait | undefined {
  if (pod.metadata.deletionTimestamp !== undefined) return 'end';
  if (waitingReason(pod) === CONFIG_ERROR) return 'config';
  return unschedulable(pod) === undefined ? undefined : 'node';
}

/** The container runs, or ran. @returns since when, or undefined when it never did, as far as is known. */
export function startedAt(pod: Pod): Date | undefined {
  const state = pod.status.containerStatuses[0]?.state;
  if (state?.running !== undefined) return state.running.startedAt ?? pod.metadata.creationTimestamp;
  return undefined;
}

/** @returns whether the pod is bound to a node, so that a kubelet ends it. */
export const isBound = (pod: Pod): boolean => pod.spec.nodeName !== undefined;

/** @returns whether Kubernetes regards the pod as finished, and with it, soon, its Job. */
export const isFinished = (pod: Pod): boolean =>
  pod.status.phase === 'Succeeded' || pod.status.phase === 'Failed' || terminated(pod) !== undefined;

/**
 * Says how a run's pod ended, from what the kubelet and the control plane wrote into it. Pure.
 * https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
 * @param overdue the pod has waited too long for what `podWait` says.
 * @returns undefined while it has not ended and still may do something.
 */
export function podExit(pod: Pod, overdue = false): Exit | undefined {
  const container = terminated(pod);
  const cause = disruption(pod);
  if (container !== undefined) {
    const oomKilled = container.reason === 'OOMKilled';
    return {
      // A kubelet that came back and found no container says so with this reason, and an invented exit code.
      ...(container.reason === 'ContainerStatusUnknown'
        ? { kind: 'lost', exitCode: null }
        : { kind: 'exited', exitCode: container.exitCode }),
      oomKilled,
      at: container.finishedAt ?? endOf(pod),
      ...(cause === undefined || oomKilled ? {} : { cause }),
    };
  }
  const ended = (kind: 'lost' | 'unstarted', why: Exit['cause'] | undefined): Exit => ({
    kind,
    exitCode: null,
    oomKilled: false,
    at: endOf(pod),
    ...(why === undefined ? {} : { cause: why }),
  });
  switch (pod.status.phase) {
    case 'Succeeded':
      return { kind: 'exited', exitCode: 0, oomKilled: false, at: endOf(pod) };
    case 'Failed': {
      const why = cause ?? refusedByNode(pod);
      return ended(wasStarted(pod) || why === undefined ? 'lost' : 'unstarted', why);
    }
  }
  if (pod.metadata.deletionTimestamp !== undefined) {
    return overdue ? ended('lost', unconfirmed(pod, cause)) : undefined;
  }
  const stuck = stuckContainer(pod);
  if (stuck !== undefined) {
    return overdue || podWait(pod) === undefined ? ended('unstarted', stuck) : undefined;
  }
  const message = unschedulable(pod);
  return message !== undefined && overdue
    ? ended('unstarted', { reason: 'UNSCHEDULABLE', message: `no node for the pod: ${message}` })
    : undefined;
}

/** @returns how a pod ended that is gone without having told. */
export function vanishedExit(pod: Pod): Exit {
  const known = podExit(pod);
  if (known !== undefined) return known;
  const cause = disruption(pod);
  return {
    kind: 'lost',
    exitCode: null,
    oomKilled: false,
    at: pod.metadata.deletionTimestamp ?? new Date(),
    ...(cause === undefined ? {} : { cause }),
  };
}

const terminated = (pod: Pod) => pod.status.containerStatuses[0]?.state.terminated;

const wasStarted = (pod: Pod): boolean => startedAt(pod) !== undefined;

/** When it ended, as well as the pod tells. */
const endOf = (pod: Pod): Date =>
  pod.metadata.deletionTimestamp ??
  pod.status.conditions
    .map((c) => c.lastTransitionTime)
    .filter((at) => at instanceof Date)
    .reduce((latest, at) => (at > latest ? at : latest), pod.metadata.creationTimestamp);

/** Somebody other than the runner ended the pod: the kubelet's word first, then the control plane's. */
function disruption(pod: Pod): Exit['cause'] | undefined {
  const { reason, message } = pod.status;
  const condition = holds(pod.status.conditions, 'DisruptionTarget');
  const known = BY_STATUS[reason] ?? (condition && BY_DISRUPTION[condition.reason]);
  if (known === undefined && condition === undefined) return undefined;
  const said = message || condition?.message;
  return {
    reason: known ?? 'EVICTED',
    message: `the pod was ended by the cluster (${reason || condition?.reason || 'disruption'})${said ? `: ${said}` : ''}`,
  };
}

const BY_STATUS: Readonly<Record<string, ExitReason>> = {
  Evicted: 'EVICTED',
  NodeLost: 'NODE_LOST',
  NodeShutdown: 'NODE_LOST',
  Shutdown: 'NODE_LOST',
  Terminated: 'NODE_LOST',
  Preempting: 'PREEMPTED',
  DeadlineExceeded: 'DEADLINE_EXCEEDED',
};

const BY_DISRUPTION: Readonly<Record<string, ExitReason>> = {
  PreemptionByScheduler: 'PREEMPTED',
  EvictionByEvictionAPI: 'EVICTED',
  DeletionByTaintManager: 'EVICTED',
  TerminationByKubelet: 'EVICTED',
  DeletionByPodGC: 'NODE_LOST',
};

/** The pod was bound, but its node would not take it, e.g. `OutOfcpu`. The scheduler may find another one next time. */
function refusedByNode(pod: Pod): Exit['cause'] | undefined {
  const { reason, message } = pod.status;
  if (reason === '') return undefined;
  return { reason: 'UNSCHEDULABLE', message: `the node refused the pod (${reason}): ${message}` };
}

/** Deleted, and no kubelet says how it ended: the node is gone, whatever the deletion was for. */
const unconfirmed = (pod: Pod, cause: Exit['cause'] | undefined): Exit['cause'] =>
  cause?.reason === 'PREEMPTED'
    ? cause
    : {
        reason: 'NODE_LOST',
        message: `node "${pod.spec.nodeName ?? 'none'}" did not confirm the end of the pod${cause === undefined ? '' : `; ${cause.message}`}`,
      };

const CONFIG_ERROR = 'CreateContainerConfigError';

const waitingReason = (pod: Pod): string | undefined =>
  pod.status.containerStatuses[0]?.state.waiting?.reason;

const STUCK: Readonly<Record<string, { readonly reason: ExitReason; readonly what: string }>> = {
  ...Object.fromEntries(
    [
      'ErrImagePull',
      'ImagePullBackOff',
      'InvalidImageName',
      'ErrImageNeverPull',
      'ImageInspectError',
      'RegistryUnavailable',
      'SignatureValidationFailed',
    ].map((reason) => [reason, { reason: 'IMAGE_PULL_FAILED', what: 'the image cannot be had' }]),
  ),
  // Not retried: the pod asks for something that will not be there next time either.
  [CONFIG_ERROR]: { reason: 'ADMISSION_DENIED', what: 'the node refuses the container' },
  CreateContainerError: { reason: 'UNSCHEDULABLE', what: 'the node cannot create the container' },
};

/** The kubelet would try again for ever. */
function stuckContainer(pod: Pod): Exit['cause'] | undefined {
  const waiting = pod.status.containerStatuses[0]?.state.waiting;
  const stuck = waiting && STUCK[waiting.reason];
  if (stuck === undefined) return undefined;
  return {
    reason: stuck.reason,
    message: `${stuck.what} (${waiting?.reason ?? ''}): ${waiting?.message ?? ''}`,
  };
}

/** @returns the scheduler's message when it found no node. */
function unschedulable(pod: Pod): string | undefined {
  const condition = pod.status.conditions.find((c) => c.type === 'PodScheduled');
  return condition?.status === 'False' && condition.reason === 'Unschedulable'
    ? condition.message
    : undefined;
}
