import { podSchema, type Pod } from '../../../controller/backends/kubernetes/objects.ts';

/** The parts of a pod that tests vary. */
export interface PodParts {
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>>;
}

export const BOUND = { type: 'PodScheduled', status: 'True', lastTransitionTime: '2026-11-23T22:00:00Z' };

/** The attempt whose pod it is. */
export const REF = { runId: '01a20a85-b072-769b-9197-d240d003bf62', attempt: 1, tenantId: 'acme' } as const;
export const JOB_UID = '1d3f2087-6c16-40d4-86d3-e25efed2deda';

/** @returns a pod as the API server sends it: bound, its container about to be created. */
export const rawPod = ({ metadata, spec, status }: PodParts = {}): unknown => ({
  metadata: {
    name: `run-${REF.runId}-1-abcde`,
    uid: 'pod-1',
    resourceVersion: '10',
    creationTimestamp: '2026-11-23T22:00:00Z',
    labels: {
      'wormhole.dev/run-id': REF.runId,
      'wormhole.dev/attempt': String(REF.attempt),
      'wormhole.dev/tenant-id': REF.tenantId,
    },
    ownerReferences: [{ kind: 'Job', uid: JOB_UID }],
    ...metadata,
  },
  spec: { nodeName: 'node-1', ...spec },
  status: {
    phase: 'Pending',
    conditions: [BOUND],
    containerStatuses: [{ state: { waiting: { reason: 'ContainerCreating' } } }],
    ...status,
  },
});

export const pod = (parts?: PodParts): Pod => podSchema.parse(rawPod(parts));

export const running: PodParts = {
  status: {
    phase: 'Running',
    containerStatuses: [{ state: { running: { startedAt: '2026-11-23T22:00:01Z' } } }],
  },
};

/** The kubelet saw the container end. */
export const terminated = (exitCode: number, reason: string): PodParts => ({
  status: {
    phase: exitCode === 0 ? 'Succeeded' : 'Failed',
    containerStatuses: [{ state: { terminated: { exitCode, reason, finishedAt: '2026-11-23T22:00:09Z' } } }],
  },
});

/** With another status on top. */
export const withStatus = (parts: PodParts, status: Readonly<Record<string, unknown>>): PodParts => ({
  ...parts,
  status: { ...parts.status, ...status },
});
