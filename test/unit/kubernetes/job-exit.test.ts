import { expect, test } from 'vitest';
import { jobExit } from '../../../controller/backends/kubernetes/job-exit.ts';
import { jobSchema, type Job } from '../../../controller/backends/kubernetes/objects.ts';

const job = (status: Readonly<Record<string, unknown>> = {}): Job =>
  jobSchema.parse({
    metadata: { name: 'run-x-1', uid: 'job-1', creationTimestamp: '2026-11-23T22:00:00Z' },
    status,
  });
const refused = (message: string) => [{ reason: 'FailedCreate', message: `Error creating: ${message}` }];

test.each([
  [
    'pods "run-x-1-abcde" is forbidden: exceeded quota: tenant-quota, requested: pods=1, used: pods=1, limited: pods=1',
    'QUOTA_EXCEEDED',
  ],
  [
    'pods "run-x-1-abcde" is forbidden: violates PodSecurity "restricted:latest": privileged',
    'ADMISSION_DENIED',
  ],
  [
    'pods "run-x-1-abcde" is forbidden: maximum cpu usage per Pod is 100m, but limit is 4',
    'ADMISSION_DENIED',
  ],
  [
    "pods \"run-x-1-abcde\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
    'ADMISSION_DENIED',
  ],
  ['admission webhook "x" denied the request: no', 'ADMISSION_DENIED'],
  ['Pod "run-x-1-abcde" is invalid: spec.containers: Required value', 'ADMISSION_DENIED'],
  [
    'pods "run-x-1-" is forbidden: error looking up service account ns/wormhole-runner: serviceaccount "wormhole-runner" not found',
    'ADMISSION_DENIED',
  ],
])('%s is %s', (message, reason) => {
  expect(jobExit(job(), refused(message), false)).toMatchObject({
    kind: 'unstarted',
    exitCode: null,
    cause: { reason, message: expect.stringContaining(message) as string },
  });
});

test.each([
  'Internal error occurred: failed calling webhook "x": connection refused',
  'etcdserver: request timed out',
  'Timeout: request did not complete within the allotted duration',
])('%s may get through the next time', (message) => {
  expect(jobExit(job(), refused(message), false)).toBeUndefined();
});

test('an old refusal does not count once there is a pod', () => {
  const events = refused('pods "x" is forbidden: exceeded quota: tenant-quota');
  expect(jobExit(job({ active: 1 }), events, false)).toBeUndefined();
  expect(jobExit(job(), events, true)).toBeUndefined();
});

test.each(['Failed', 'FailureTarget'])('a Job that is %s at its deadline says so', (type) => {
  const condition = { type, status: 'True', reason: 'DeadlineExceeded', message: 'too long' };
  const ended = job({ conditions: [condition] });
  expect(jobExit(ended, [], false)).toMatchObject({
    kind: 'unstarted',
    cause: { reason: 'DEADLINE_EXCEEDED' },
  });
  expect(jobExit(ended, [], true)).toMatchObject({ kind: 'lost', cause: { reason: 'DEADLINE_EXCEEDED' } });
});

test('a Job that is gone, or has failed without a pod, is lost', () => {
  const failed = job({ conditions: [{ type: 'Failed', status: 'True', reason: 'BackoffLimitExceeded' }] });
  for (const ended of [undefined, failed]) {
    const exit = jobExit(ended, [], true);
    expect(exit).toMatchObject({ kind: 'lost' });
    expect(exit?.cause).toBeUndefined();
  }
});

test('a Job that has only just been made may still get its pod', () => {
  expect(jobExit(job(), [], false)).toBeUndefined();
});
