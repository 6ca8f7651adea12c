import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { expect, onTestFinished, test, vi } from 'vitest';
import {
  PodWatch,
  type PodChange,
  type PodWatchOptions,
} from '../../../controller/backends/kubernetes/pod-watch.ts';
import { ApiError } from '../../../controller/backends/kubernetes/api-error.ts';
import { ScriptedApi } from '../../support/kubernetes-scripted-api.ts';
import { rawPod } from './pods.ts';

function watch(options: Partial<PodWatchOptions> = {}): {
  api: ScriptedApi;
  watch: PodWatch;
  told: string[];
} {
  const api = new ScriptedApi();
  const told: string[] = [];
  const onChange = (change: PodChange): void => {
    told.push(
      change.kind === 'listed'
        ? `listed ${change.pods.length}`
        : `${change.kind} ${change.pod.metadata.resourceVersion}`,
    );
  };
  const log = pino({ level: 'silent' });
  const podWatch = new PodWatch({ api, namespace: 'n', labelSelector: 'x=y', onChange, log, ...options });
  onTestFinished(() => podWatch.close());
  return { api, watch: podWatch, told };
}

const version = (resourceVersion: string) => ({ metadata: { resourceVersion } });
const at = (resourceVersion: string): unknown => {
  const pod = rawPod() as { metadata: Record<string, unknown> };
  return { ...pod, metadata: { ...pod.metadata, resourceVersion } };
};

test('a list is followed by a watch from there', async () => {
  const { api, told } = watch();
  await vi.waitUntil(() => api.watches.length === 1);
  api.tell('ADDED', at('101'));
  api.tell('MODIFIED', at('102'));
  api.tell('DELETED', at('103'));
  await vi.waitUntil(() => told.length === 4);
  expect(told).toEqual(['listed 0', 'changed 101', 'changed 102', 'deleted 103']);
  expect(api.watches).toEqual(['100']);
});

test('a watch that ended goes on where it ended, also after bookmarks alone, without a list', async () => {
  const { api } = watch();
  await vi.waitUntil(() => api.watches.length === 1);
  api.tell('MODIFIED', at('150'));
  api.tell('BOOKMARK', version('180'));
  await delay(600);
  api.endWatch();
  await vi.waitUntil(() => api.watches.length === 2);
  expect(api.watches).toEqual(['100', '180']);
  expect(api.lists).toBe(1);
});

test('a version that is too old is a new list at once', async () => {
  const { api, told } = watch();
  await vi.waitUntil(() => api.watches.length === 1);
  api.tell('ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' });
  await vi.waitUntil(() => api.watches.length === 2);
  expect(told).toEqual(['listed 0', 'listed 0']);
  expect(api.watches).toEqual(['100', '200']);
});

test('a watch that broke is a new list', async () => {
  const { api } = watch();
  await vi.waitUntil(() => api.watches.length === 1);
  api.breakWatch();
  await vi.waitUntil(() => api.watches.length === 2);
  expect(api.lists).toBe(2);
});

test('an event that cannot be understood is a new list, not a silent gap', async () => {
  const { api } = watch();
  await vi.waitUntil(() => api.watches.length === 1);
  api.tell('MODIFIED', { metadata: {} });
  await vi.waitUntil(() => api.lists === 2);
});

test('a silent connection is given up for another one, from the same version', async () => {
  const { api } = watch({ connectionMs: 10 });
  await vi.waitUntil(() => api.watches.length === 2, { timeout: 5000 });
  expect(api.watches).toEqual(['100', '100']);
});

test('what was never told is found by the next list', async () => {
  const { api, told } = watch({ relistMs: 100, connectionMs: 10 });
  await vi.waitUntil(() => api.watches.length === 1);
  api.pods = [at('101')];
  await vi.waitUntil(() => told.includes('listed 1'), { timeout: 5000 });
});

test('a list that is asked for is made now', async () => {
  const { api, watch: podWatch } = watch();
  await podWatch.synced(1000);
  await podWatch.relist(1000);
  expect(api.lists).toBe(2);
});

test('who waits for a list when there is none learns of it in time', async () => {
  const { api, watch: podWatch } = watch();
  await podWatch.synced(1000);
  api.send = () => Promise.reject(new Error('away'));
  await expect(podWatch.relist(200)).rejects.toThrow('cannot be listed now');
});

test('a list that is not found is no empty list', async () => {
  const { api, watch: podWatch, told } = watch();
  await vi.waitUntil(() => api.watches.length === 1);
  api.refusal = new ApiError('not found', { status: 404, reason: 'NotFound' });
  await expect(podWatch.relist(500)).rejects.toThrow('cannot be listed');
  expect(told).toEqual(['listed 0']);
});
