import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { expect, onTestFinished, test, vi } from 'vitest';
import { ApiError } from '../../../controller/backends/kubernetes/api-error.ts';
import { TenantRuns } from '../../../controller/backends/kubernetes/tenant-runs.ts';
import type { Observation } from '../../../controller/backends/types.ts';
import type { TenantId } from '../../../controller/model/ids.ts';
import { ScriptedApi } from '../../support/kubernetes-scripted-api.ts';
import { rawPod, REF, running } from './pods.ts';

const UNSCHEDULABLE = {
  metadata: { resourceVersion: '1' },
  spec: { nodeName: undefined },
  status: {
    conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: 'no room' }],
    containerStatuses: [],
  },
};

function watched(): { api: ScriptedApi; observed: Observation[] } {
  const api = new ScriptedApi();
  api.pods = [rawPod(UNSCHEDULABLE)];
  const observed: Observation[] = [];
  const runs = new TenantRuns({
    api,
    instance: 'test',
    tenantId: REF.tenantId as TenantId,
    namespace: 'run-acme',
    unschedulableTimeoutMs: 1000,
    onObservation: (observation) => void observed.push(observation),
    log: pino({ level: 'silent' }),
  });
  onTestFinished(() => runs.close());
  return { api, observed };
}

test('a pod that waits too long is given up after a fresh look', async () => {
  const { api, observed } = watched();
  await vi.waitUntil(() => observed.length > 0, { timeout: 5000 });
  expect(observed).toMatchObject([{ exit: { kind: 'unstarted', cause: { reason: 'UNSCHEDULABLE' } } }]);
  expect(api.lists).toBe(2);
});

test('while the API server is away nothing is decided; a pod that has begun to run meanwhile goes on', async () => {
  const { api, observed } = watched();
  await vi.waitUntil(() => api.watches.length === 1);
  api.refusal = new ApiError('no answer', { status: null });
  await delay(2500);
  expect(observed).toEqual([]);
  api.pods = [rawPod(running)];
  api.refusal = undefined;
  await vi.waitUntil(() => observed.length > 0, { timeout: 8000 });
  await delay(1500);
  expect(new Set(observed.map(({ kind }) => kind))).toEqual(new Set(['started']));
});
