import { expect, test } from 'vitest';
import { ApiError } from '../../../controller/backends/kubernetes/api-error.ts';
import { startError } from '../../../controller/backends/kubernetes/start-error.ts';

test.each([
  [403, 'jobs.batch "x" is forbidden: ValidatingAdmissionPolicy denied request', 'ADMISSION_DENIED', false],
  [422, 'Job.batch "x" is invalid: spec.template', 'ADMISSION_DENIED', false],
  [404, 'namespaces "wormhole-run-acme" not found', 'ADMISSION_DENIED', false],
  // The rights of a new tenant come a moment after its namespace.
  [403, 'jobs.batch is forbidden: User "c" cannot create resource "jobs"', 'ADMISSION_DENIED', true],
  // Said by an API server that has just started and does not know the roles yet.
  [403, 'services "g" is forbidden: User "c" cannot get resource "services"', 'ADMISSION_DENIED', true],
  [403, 'jobs.batch "x" is forbidden: exceeded quota: jobs', 'QUOTA_EXCEEDED', true],
  [409, 'Operation cannot be fulfilled on resourcequotas "runs"', 'UNSCHEDULABLE', true],
  [500, 'Internal error occurred: failed calling webhook "x"', 'UNSCHEDULABLE', true],
  [401, 'Unauthorized', 'UNSCHEDULABLE', true],
  [429, 'too many requests', 'UNSCHEDULABLE', true],
  [500, 'etcdserver: request timed out', 'UNSCHEDULABLE', true],
  [503, 'apiserver is shutting down', 'UNSCHEDULABLE', true],
  [null, 'connect ECONNREFUSED', 'NODE_LOST', true],
])('%s %s is %s', (status, message, reason, retryable) => {
  const error = startError(new ApiError(message, { status }), 'run r, attempt 1');
  expect(error).toMatchObject({ code: 'BACKEND_FAILED', reason, retryable });
  expect(error.message).toContain('run r, attempt 1');
  expect(error.message).toContain(message);
});

test.each([
  [null, 'connect ECONNREFUSED', true],
  [401, 'Unauthorized', true],
  [429, 'too many requests', true],
  [503, 'apiserver is shutting down', true],
  [500, 'Internal error occurred: failed calling webhook "x"', false],
  [409, 'Operation cannot be fulfilled on resourcequotas "runs"', false],
  [403, 'jobs.batch "x" is forbidden: exceeded quota: jobs', false],
  [422, 'Job.batch "x" is invalid: spec.template', false],
])('%s %s: nobody answered: %s', (status, message, unanswered) => {
  expect(startError(new ApiError(message, { status }), 'run r')).toMatchObject({ unanswered });
});

test('what the controller itself could not do may succeed the next time', () => {
  expect(startError(new Error('no address'), 'run r')).toMatchObject({
    reason: 'UNSCHEDULABLE',
    retryable: true,
  });
});
