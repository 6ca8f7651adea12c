import { describe, expect, test } from 'vitest';
import {
  podExit,
  podWait,
  startedAt,
  vanishedExit,
} from '../../../controller/backends/kubernetes/pod-exit.ts';
import { BOUND, pod, running, terminated, withStatus, type PodParts } from './pods.ts';

const DELETED = { metadata: { deletionTimestamp: '2026-11-23T22:00:05Z', deletionGracePeriodSeconds: 10 } };
const disrupted = (reason: string, message = 'why'): Readonly<Record<string, unknown>> => ({
  conditions: [BOUND, { type: 'DisruptionTarget', status: 'True', reason, message }],
});
const waiting = (reason: string): PodParts => ({
  status: { containerStatuses: [{ state: { waiting: { reason, message: `${reason} it is` } } }] },
});
const UNSCHEDULABLE: PodParts = {
  spec: { nodeName: undefined },
  status: {
    containerStatuses: [],
    conditions: [
      { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/1 nodes are available' },
    ],
  },
};

describe('a container that ended', () => {
  test.each([0, 1, 42, 70, 137, 143])('with exit code %i', (code) => {
    expect(podExit(pod(terminated(code, code === 0 ? 'Completed' : 'Error')))).toEqual({
      kind: 'exited',
      exitCode: code,
      oomKilled: false,
      at: new Date('2026-11-23T22:00:09Z'),
    });
  });

  test('for want of memory, also while it was evicted', () => {
    for (const status of [{}, disrupted('EvictionByEvictionAPI')]) {
      const exit = podExit(pod(withStatus(terminated(137, 'OOMKilled'), status)));
      expect(exit).toMatchObject({ kind: 'exited', exitCode: 137, oomKilled: true });
      expect(exit?.cause).toBeUndefined();
    }
  });

  test('without a kubelet that saw how is lost', () => {
    expect(podExit(pod(terminated(137, 'ContainerStatusUnknown')))).toMatchObject({
      kind: 'lost',
      exitCode: null,
    });
  });

  test.each([
    ['EvictionByEvictionAPI', 'EVICTED'],
    ['DeletionByTaintManager', 'EVICTED'],
    ['TerminationByKubelet', 'EVICTED'],
    ['PreemptionByScheduler', 'PREEMPTED'],
    ['DeletionByPodGC', 'NODE_LOST'],
    ['SomethingNew', 'EVICTED'],
  ])('because of the disruption %s is %s', (reason, expected) => {
    const exit = podExit(pod(withStatus(terminated(143, 'Error'), disrupted(reason))));
    expect(exit).toMatchObject({ kind: 'exited', exitCode: 143, cause: { reason: expected } });
    expect(exit?.cause?.message).toContain(reason);
  });

  test.each([
    ['Evicted', 'EVICTED'],
    ['NodeLost', 'NODE_LOST'],
    ['NodeShutdown', 'NODE_LOST'],
    ['Shutdown', 'NODE_LOST'],
    ['Terminated', 'NODE_LOST'],
    ['Preempting', 'PREEMPTED'],
    ['DeadlineExceeded', 'DEADLINE_EXCEEDED'],
  ])('in a pod that failed as %s is %s, whatever the disruption says', (reason, expected) => {
    const status = { ...disrupted('TerminationByKubelet'), reason, message: 'the kubelet says so' };
    expect(podExit(pod(withStatus(terminated(137, 'Error'), status)))?.cause).toMatchObject({
      reason: expected,
      message: expect.stringContaining('the kubelet says so') as string,
    });
    const withoutContainer = {
      phase: 'Failed',
      containerStatuses: [],
      reason,
      message: 'the kubelet says so',
    };
    expect(podExit(pod({ status: withoutContainer }))).toMatchObject({
      kind: 'unstarted',
      cause: { reason: expected },
    });
  });
});

describe('a pod that failed without a container', () => {
  test.each(['OutOfcpu', 'OutOfmemory', 'NodeAffinity', 'UnexpectedAdmissionError'])('as %s', (reason) => {
    const status = { phase: 'Failed', containerStatuses: [], reason, message: 'no' };
    expect(podExit(pod({ status }))).toMatchObject({ kind: 'unstarted', cause: { reason: 'UNSCHEDULABLE' } });
  });

  test('and without a word is lost', () => {
    const exit = podExit(pod({ status: { phase: 'Failed', containerStatuses: [] } }));
    expect(exit).toMatchObject({ kind: 'lost' });
    expect(exit?.cause).toBeUndefined();
  });
});

describe('a container that cannot be created', () => {
  test.each([
    ['ErrImagePull', 'IMAGE_PULL_FAILED'],
    ['ImagePullBackOff', 'IMAGE_PULL_FAILED'],
    ['InvalidImageName', 'IMAGE_PULL_FAILED'],
    ['ErrImageNeverPull', 'IMAGE_PULL_FAILED'],
    ['ImageInspectError', 'IMAGE_PULL_FAILED'],
    ['CreateContainerError', 'UNSCHEDULABLE'],
  ])('%s is %s at once', (reason, expected) => {
    expect(podExit(pod(waiting(reason)))).toMatchObject({
      kind: 'unstarted',
      exitCode: null,
      cause: { reason: expected, message: expect.stringContaining(`${reason} it is`) as string },
    });
  });

  test.each(['ContainerCreating', 'PodInitializing', ''])('%s goes on', (reason) => {
    expect(podExit(pod(waiting(reason)))).toBeUndefined();
    expect(podExit(pod(waiting(reason)), true)).toBeUndefined();
  });
});

describe('a pod that waits', () => {
  test('for a node is given up only when that took too long', () => {
    expect(podWait(pod(UNSCHEDULABLE))).toBe('node');
    expect(podExit(pod(UNSCHEDULABLE))).toBeUndefined();
    expect(podExit(pod(UNSCHEDULABLE), true)).toMatchObject({
      kind: 'unstarted',
      cause: { reason: 'UNSCHEDULABLE', message: expect.stringContaining('0/1 nodes') as string },
    });
  });

  test('for what its node does not know yet is refused only when that took too long', () => {
    const unknown = pod(waiting('CreateContainerConfigError'));
    expect(podWait(unknown)).toBe('config');
    expect(podExit(unknown)).toBeUndefined();
    expect(podExit(unknown, true)).toMatchObject({
      kind: 'unstarted',
      cause: { reason: 'ADMISSION_DENIED', message: expect.stringContaining('it is') as string },
    });
  });

  test('for its end is lost with its node only when that took too long', () => {
    const ending = pod({ ...running, ...DELETED });
    expect(podWait(ending)).toBe('end');
    expect(podExit(ending)).toBeUndefined();
    expect(podExit(ending, true)).toMatchObject({
      kind: 'lost',
      cause: { reason: 'NODE_LOST', message: expect.stringContaining('node-1') as string },
    });
  });

  test('for nothing while it runs, however long', () => {
    expect(podWait(pod(running))).toBeUndefined();
    expect(podExit(pod(running), true)).toBeUndefined();
    expect(startedAt(pod(running))).toEqual(new Date('2026-11-23T22:00:01Z'));
    expect(startedAt(pod())).toBeUndefined();
  });

  test('for an end that its container has told already has ended', () => {
    expect(podExit(pod({ ...terminated(42, 'Error'), ...DELETED }))).toMatchObject({ exitCode: 42 });
  });
});

describe('a pod that vanished', () => {
  test('is lost, and its disruption says why', () => {
    expect(vanishedExit(pod(running))).toMatchObject({ kind: 'lost', exitCode: null });
    expect(vanishedExit(pod(running)).cause).toBeUndefined();
    expect(vanishedExit(pod(withStatus(running, disrupted('DeletionByPodGC')))).cause?.reason).toBe(
      'NODE_LOST',
    );
  });

  test('after its container ended has exited', () => {
    expect(vanishedExit(pod(terminated(7, 'Error')))).toMatchObject({ kind: 'exited', exitCode: 7 });
  });
});
