import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type Dockerode from 'dockerode';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runIdSchema, tenantIdSchema, type RunId } from '../../controller/model/ids.ts';
import type { RunChange } from '../../controller/store/notifications.ts';
import { INTAKE_QUEUE } from '../../controller/queue/names.ts';
import { openQueueServer, type QueueServer } from '../../controller/queue/queue-server.ts';
import { cloneDatabase } from '../support/database.ts';
import { dockerWithRunnerImage } from '../support/docker.ts';
import { callFarSide, startFarSide, type FarSide } from '../support/far-side.ts';
import { containersOf, startTestPlatform, type TestPlatform } from '../support/platform.ts';
import { describeWith, mongodb, redis, type Requirement } from '../support/requires.ts';

const acme = tenantIdSchema.parse('acme');
const globex = tenantIdSchema.parse('globex');

describeWith('a platform on Docker', dockerWithRunnerImage, (engine) => {
  suite('with everything in PostgreSQL', engine, () => Promise.resolve({ value: undefined }));
  suite('with the queue in Redis', engine, redis);
  describeWith('with logs in MongoDB', mongodb, (mongodbUrl) => {
    const { platform, farSide } = usePlatform(engine, { mongodbUrl });
    test('keeps a run’s log there, the runner’s lines and the egress proxy’s', async () => {
      const { client } = platform();
      const { runId } = await client.submit({ tenantId: acme, definition: callFarSide(), input: {} });
      expect(await client.waitFor(runId)).toMatchObject({ status: 'SUCCESS' });
      expect(farSide().calls).toContain(`${runId}/call`);
      await expect
        .poll(async () => (await client.logs(runId)).entries.map(({ source }) => source))
        .toEqual(expect.arrayContaining(['runner', 'egress']));
    });
  });
});

/** One platform and far side for a suite. */
function usePlatform(engine: Dockerode, more: { redisUrl?: string; mongodbUrl?: string }) {
  const database = cloneDatabase();
  let platform: TestPlatform;
  let farSide: FarSide;
  beforeAll(async () => {
    farSide = await startFarSide();
    platform = await startTestPlatform({
      docker: engine,
      databaseUrl: (await database).url,
      ...more,
      tenants: { acme: 2, globex: 1 },
      maxConcurrent: 3,
      services: [farSide.service],
    });
  });
  afterAll(async () => {
    await platform.close();
    await farSide.stop();
  });
  return { platform: () => platform, farSide: () => farSide, database };
}

function suite(name: string, engine: Dockerode, queue: Requirement<string | undefined>): void {
  describeWith(name, queue, (redisUrl) => {
    const use = usePlatform(engine, redisUrl === undefined ? {} : { redisUrl });
    const submit = (definition: unknown, tenantId = acme, input: unknown = {}) =>
      use.platform().client.submit({ tenantId, definition, input });
    const timesCalled = (runId: RunId) =>
      use.farSide().calls.filter((call) => call === `${runId}/call`).length;

    test('runs a workflow once, in a container that is gone afterwards, and keeps what it said', async () => {
      const { client } = use.platform();
      const { runId } = await submit(callFarSide(), acme, { hello: 'world' });
      const run = await client.waitFor(runId);
      expect(run).toMatchObject({ status: 'SUCCESS', reason: null, attempt: 1, output: { ok: true } });
      expect(run.steps).toMatchObject([{ key: 'call', status: 'SUCCESS', tries: 1 }]);
      expect(run.attempts).toMatchObject([{ exitCode: 0, oomKilled: false }]);
      expect(timesCalled(runId)).toBe(1);
      // Recorded first, then removed.
      await expect.poll(() => containersOf(engine, use.platform().config.instance)).toEqual([]);
      expect((await client.logs(runId)).entries.length).toBeGreaterThan(0);
    });

    test('never has more live runs than a cap allows', async () => {
      const { client } = use.platform();
      const stop = new AbortController();
      const live = { acme: new Set<string>(), globex: new Set<string>() } as Record<string, Set<string>>;
      const most: Record<string, number> = { acme: 0, globex: 0, all: 0 };
      const watch = (change: RunChange): void => {
        const holds = change.status === 'STARTING' || change.status === 'RUNNING';
        live[change.tenantId]?.[holds ? 'add' : 'delete'](change.runId);
        const sizes = Object.entries(live).map(([tenant, runs]) => [tenant, runs.size] as const);
        for (const [tenant, size] of [
          ...sizes,
          ['all', sizes.reduce((sum, [, size]) => sum + size, 0)] as const,
        ]) {
          most[tenant] = Math.max(most[tenant] ?? 0, size);
        }
      };
      const watching = (async () => {
        for await (const change of client.changes(stop.signal)) watch(change);
      })();
      const runs = await Promise.all(
        Array.from({ length: 12 }, (_, i) => submit(callFarSide('?ms=150'), i % 3 === 0 ? globex : acme)),
      );
      const ended = await Promise.all(runs.map(({ runId }) => client.waitFor(runId)));
      stop.abort();
      await watching;
      expect(ended.map(({ status }) => status)).toEqual(ended.map(() => 'SUCCESS'));
      expect(most).toEqual({ acme: 2, globex: 1, all: 3 });
    });

    test('cancels a run that waits at once, and one that runs when its container has ended', async () => {
      const { client } = use.platform();
      const [running, waiting] = [
        await submit(callFarSide('?ms=60000'), globex),
        await submit(callFarSide('?ms=60000'), globex),
      ];
      await expect
        .poll(async () => (await client.run(running.runId)).status, { timeout: 20_000 })
        .toBe('RUNNING');
      await client.cancel(waiting.runId);
      expect(await client.run(waiting.runId)).toMatchObject({ status: 'CANCELED', attempt: 0 });
      await client.cancel(running.runId);
      expect(await client.waitFor(running.runId)).toMatchObject({
        status: 'CANCELED',
        reason: 'CANCELED',
        steps: [{ status: 'CANCELED' }],
      });
      await expect(client.cancel(running.runId)).rejects.toMatchObject({ code: 'RUN_ALREADY_ENDED' });
    });

    test('ends a run whose input does not fit its schema as INPUT_INVALID, before any step', async () => {
      const inputSchema = { type: 'object', required: ['id'], properties: { id: { type: 'integer' } } };
      const { runId } = await submit(callFarSide('', { inputSchema }), acme, { id: 'seven' });
      const run = await use.platform().client.waitFor(runId);
      expect(run).toMatchObject({ status: 'FAILED', reason: 'INPUT_INVALID' });
      expect(run.message).toContain('id');
      expect(timesCalled(runId)).toBe(0);
    });

    test('ends a run at its deadline', async () => {
      const { runId } = await submit(callFarSide('?ms=60000', { timeoutMs: 2500 }));
      const run = await use.platform().client.waitFor(runId);
      expect(run).toMatchObject({ status: 'TIMEOUT', reason: 'DEADLINE_EXCEEDED' });
      expect(run.finishedAt!.getTime()).toBeLessThan(run.deadlineAt!.getTime() + 1500);
    });

    test('takes runs from any BullMQ producer, each job once', async () => {
      const { client } = use.platform();
      const { workflowVersionId } = await client.run((await submit(callFarSide())).runId);
      await withQueues(use, async (server) => {
        const queue = server.queue<unknown>(INTAKE_QUEUE);
        const jobId = randomUUID();
        const payload = { tenantId: 'acme', workflowVersionId, input: { from: 'bullmq' } };
        await queue.add('anything', payload, { jobId });
        const runId = runIdSchema.parse(jobId);
        await expect
          .poll(
            () =>
              client.run(runId).then(
                ({ id }) => id,
                () => null,
              ),
            { timeout: 10_000 },
          )
          .toBe(runId);
        expect(await client.waitFor(runId)).toMatchObject({ status: 'SUCCESS', input: { from: 'bullmq' } });
        await queue.add('anything', payload, { jobId });
        await sleep(500);
        expect(timesCalled(runId)).toBe(1);
        await queue.close();
      });
    });

    test('puts a job that cannot be processed into the dead-letter queue, with why and without its payload', async () => {
      const { client } = use.platform();
      const { workflowVersionId } = await client.run((await submit(callFarSide())).runId);
      await withQueues(use, async (server) => {
        const queue = server.queue<unknown>(INTAKE_QUEUE);
        const unknown = randomUUID();
        const deep = randomUUID();
        const hostile: [string, unknown][] = [
          ['no-object', 'canary-payload'],
          ['no-tenant', { workflowVersionId, input: { secret: 'canary-payload' } }],
          ['bad-tenant', { tenantId: '../../etc', workflowVersionId, input: 'canary-payload' }],
          ['ghost-tenant', { tenantId: 'nobody', workflowVersionId, input: 'canary-payload' }],
          [
            'prototype',
            JSON.parse(
              `{"tenantId":"acme","workflowVersionId":"${workflowVersionId}","__proto__":{"input":1}}`,
            ),
          ],
          [unknown, { tenantId: 'acme', workflowVersionId: randomUUID(), input: 'canary-payload' }],
          [
            deep,
            {
              tenantId: 'acme',
              workflowVersionId,
              input: JSON.parse('['.repeat(100) + ']'.repeat(100)) as unknown,
            },
          ],
        ];
        for (const [jobId, data] of hostile) await queue.add('anything', data, { jobId });
        await expect.poll(() => client.deadLetters(), { timeout: 15_000 }).toHaveLength(hostile.length);
        const letters = await client.deadLetters();
        const codes = Object.fromEntries(letters.map(({ id, code }) => [id.replace('job-', ''), code]));
        expect(codes).toEqual({
          'no-object': 'PAYLOAD_INVALID',
          'no-tenant': 'PAYLOAD_INVALID',
          'bad-tenant': 'PAYLOAD_INVALID',
          'ghost-tenant': 'TENANT_NOT_FOUND',
          prototype: 'PAYLOAD_INVALID',
          [unknown]: 'WORKFLOW_NOT_FOUND',
          [deep]: 'INPUT_INVALID',
        });
        expect(JSON.stringify(letters)).not.toContain('canary-payload');
        expect(await client.run(runIdSchema.parse(unknown))).toMatchObject({
          status: 'FAILED',
          reason: 'WORKFLOW_NOT_FOUND',
        });
        expect(await client.run(runIdSchema.parse(deep))).toMatchObject({
          status: 'FAILED',
          reason: 'INPUT_INVALID',
        });
        await queue.close();
      });
    });
  });
}

async function withQueues(
  use: { platform: () => TestPlatform },
  work: (server: QueueServer) => Promise<void>,
): Promise<void> {
  const { databaseUrl, redisUrl } = use.platform().config;
  const server = openQueueServer({
    databaseUrl: databaseUrl ?? '',
    redisUrl,
    maxConnections: 8,
    onError: () => undefined,
  });
  try {
    await work(server);
  } finally {
    await server.close();
  }
}
