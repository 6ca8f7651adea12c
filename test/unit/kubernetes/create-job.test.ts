import { pino } from 'pino';
import { expect, test } from 'vitest';
import type { ApiRequest } from '../../../controller/backends/kubernetes/api-client.ts';
import { ApiError } from '../../../controller/backends/kubernetes/api-error.ts';
import { createJob } from '../../../controller/backends/kubernetes/create-job.ts';
import { newAttempt } from '../../support/attempts.ts';

const spec = newAttempt();
const manifest = { metadata: { name: 'run-x', labels: {}, annotations: {} } };
const exists = new ApiError('jobs.batch "run-x" already exists', { status: 409, reason: 'AlreadyExists' });
const conflict = new ApiError('Operation cannot be fulfilled on resourcequotas', {
  status: 409,
  reason: 'Conflict',
});
const absent = new ApiError('jobs.batch "run-x" not found', { status: 404, reason: 'NotFound' });

/** Creates the Job at an API server that answers so. @returns the outcome and the requests. */
function create(answer: (method: string, posts: number) => unknown) {
  const asked: string[] = [];
  const send = ({ method = 'GET' }: ApiRequest): Promise<unknown> => {
    asked.push(method);
    const said = answer(method, asked.filter((m) => m === 'POST').length);
    return said instanceof Error ? Promise.reject(said) : Promise.resolve(said);
  };
  const log = pino({ level: 'silent' });
  const outcome = createJob(spec, 'n', manifest, { api: { send }, instance: 'i', log });
  outcome.catch(() => undefined);
  return { asked, outcome };
}

const job = { metadata: { name: 'run-x', uid: 'u', creationTimestamp: '2026-11-23T22:00:00Z' } };

test('a name that is taken by nothing is given up in time', async () => {
  const { outcome, asked } = create((method) => (method === 'POST' ? exists : absent));
  await expect(outcome).rejects.toMatchObject({ reason: 'UNSCHEDULABLE', retryable: true });
  expect(asked.length).toBeLessThan(40);
}, 12_000);

test('another conflict is no Job, and may pass', async () => {
  const { outcome, asked } = create((_method, posts) => (posts === 1 ? conflict : job));
  expect(await outcome).toMatchObject({ existed: false });
  expect(asked).toEqual(['POST', 'POST']);
});

test('a conflict that does not pass is passed on', async () => {
  const { outcome, asked } = create(() => conflict);
  await expect(outcome).rejects.toBe(conflict);
  expect(asked).not.toContain('GET');
}, 12_000);

test('a 404 that is not of the API server is not believed', async () => {
  const page = new ApiError('GET: the API server answered with 404', { status: 404 });
  const { outcome } = create((method) => (method === 'POST' ? exists : page));
  await expect(outcome).rejects.toBe(page);
});
