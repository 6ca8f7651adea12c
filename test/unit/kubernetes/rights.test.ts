import { pino } from 'pino';
import { expect, test } from 'vitest';
import type { ApiRequest } from '../../../controller/backends/kubernetes/api-client.ts';
import { ApiError } from '../../../controller/backends/kubernetes/api-error.ts';
import { createJob } from '../../../controller/backends/kubernetes/create-job.ts';
import { serviceHosts } from '../../../controller/backends/kubernetes/service-hosts.ts';
import type { RunManifest } from '../../../controller/backends/kubernetes/run-manifest.ts';
import { newAttempt } from '../../support/attempts.ts';

/** What an API server answers that has just started: it knows no roles yet. */
const noRights = (verb: string): ApiError =>
  new ApiError(`forbidden: User "controller" cannot ${verb} resource`, { status: 403 });

const manifest = { metadata: { name: 'run-x-1', annotations: {} } } as unknown as RunManifest;
const job = { metadata: { name: 'run-x-1', uid: 'u', creationTimestamp: '2026-01-01T00:00:00Z' } };
const creating = (send: (call: ApiRequest) => Promise<unknown>) =>
  createJob(newAttempt(), 'tenant-acme', manifest, {
    api: { send },
    instance: 'test',
    log: pino({ level: 'silent' }),
  });

test('a Job is created although the API server does not know our rights for a moment', async () => {
  let asked = 0;
  const { existed } = await creating(() => {
    asked += 1;
    return asked < 4 ? Promise.reject(noRights('create')) : Promise.resolve(job);
  });
  expect({ asked, existed }).toEqual({ asked: 4, existed: false });
});

test('rights that are missing for good are said within seconds', async () => {
  const startedAt = performance.now();
  await expect(creating(() => Promise.reject(noRights('create')))).rejects.toThrow(/cannot create/);
  expect(performance.now() - startedAt).toBeLessThan(5000);
});

test('addresses that are known stay known while the API server does not tell', async ({ onTestFinished }) => {
  const real = performance.now.bind(performance);
  let aheadMs = 0;
  performance.now = () => real() + aheadMs;
  onTestFinished(() => {
    performance.now = real;
  });
  const answers = [
    () => Promise.reject(noRights('get')),
    () => Promise.resolve({ spec: { clusterIP: '10.0.0.1' } }),
    () => Promise.reject(noRights('get')),
    () => Promise.reject(new ApiError('no answer', { status: null })),
    () => Promise.reject(new ApiError('not found', { status: 404 })),
    () => Promise.resolve({ spec: { clusterIP: '10.0.0.2' } }),
  ];
  const hosts = serviceHosts(
    { send: () => answers.shift()?.() ?? Promise.reject(new Error('asked too often')) },
    'ns',
    ['gateway'],
  );
  await expect(hosts()).rejects.toThrow(/cannot get/);
  const first = { 'gateway.ns.svc': '10.0.0.1' };
  expect(await hosts()).toEqual(first);
  expect(await hosts()).toEqual(first);
  aheadMs = 61_000;
  expect(await hosts()).toEqual(first);
  expect(await hosts()).toEqual(first);
  await expect(hosts()).rejects.toThrow(/not found/);
  expect(await hosts()).toEqual({ 'gateway.ns.svc': '10.0.0.2' });
});
