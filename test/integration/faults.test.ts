import { setTimeout as sleep } from 'node:timers/promises';
import type Dockerode from 'dockerode';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { connectClient, type Client } from '../../controller/client.ts';
import type { PlatformConfig } from '../../controller/config.ts';
import { LABELS } from '../../controller/model/labels.ts';
import { runIdSchema, tenantIdSchema, type RunId } from '../../controller/model/ids.ts';
import { cloneDatabase } from '../support/database.ts';
import { dockerWithRunnerImage } from '../support/docker.ts';
import { callFarSide, startFarSide, type FarSide } from '../support/far-side.ts';
import { assertNothingLeft, containersOf, testConfig } from '../support/platform.ts';
import { PlatformProcess } from '../support/platform-process.ts';
import { describeWith } from '../support/requires.ts';

const acme = tenantIdSchema.parse('acme');
/** A step that is tried again when the egress proxy dies under its request. */
const PERSISTENT = { strategy: 'FIXED', attempts: 20, initialDelayMs: 500, maxDelayMs: 500 };

function persistent(query: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  const definition = callFarSide(query, more) as { steps: { action: object }[] };
  return {
    ...definition,
    steps: definition.steps.map((step) => ({ ...step, action: { ...step.action, retry: PERSISTENT } })),
  };
}

describeWith('whatever dies', dockerWithRunnerImage, (engine: Dockerode) => {
  const database = cloneDatabase();
  let farSide: FarSide;
  let config: PlatformConfig;
  let platform: PlatformProcess;
  let client: Client;

  beforeAll(async () => {
    farSide = await startFarSide();
    const { url } = await database;
    config = await testConfig({
      docker: engine,
      databaseUrl: url,
      tenants: { acme: 2 },
      services: [farSide.service],
    });
    client = await connectClient({ databaseUrl: url, encryptionKeys: config.encryptionKeys ?? '' });
  });
  beforeEach(async () => {
    platform = await PlatformProcess.start(config);
    return () => platform.stop();
  });
  afterAll(async () => {
    await client.close();
    await assertNothingLeft(engine, config);
    await farSide.stop();
  });

  const submit = async (definition: unknown): Promise<RunId> =>
    (await client.submit({ tenantId: acme, definition, input: {} })).runId;
  const untilRunning = (runId: RunId) =>
    expect.poll(async () => (await client.run(runId)).status, { timeout: 20_000 }).toBe('RUNNING');
  const restart = async (): Promise<void> => {
    await platform.kill();
    platform = await PlatformProcess.start(config);
  };
  const callsOf = (runId: RunId) => farSide.calls.filter((call) => call.startsWith(runId));

  test('a controller killed while a run runs: the next one takes the container over, and the run ends once', async () => {
    const runId = await submit(persistent('?ms=3000'));
    await untilRunning(runId);
    const { containerId } = await client.run(runId);
    await restart();
    const run = await client.waitFor(runId, AbortSignal.timeout(40_000));
    expect(run).toMatchObject({ status: 'SUCCESS', attempt: 1, containerId });
  });

  test('a controller killed with runs queued and starting: each ends once, executed at most once an attempt', async () => {
    const runs = await Promise.all(Array.from({ length: 6 }, () => submit(persistent('?ms=100'))));
    await sleep(250);
    await restart();
    const ended = await Promise.all(runs.map((runId) => client.waitFor(runId, AbortSignal.timeout(60_000))));
    expect(ended.map(({ status }) => status)).toEqual(runs.map(() => 'SUCCESS'));
    for (const { attempts } of ended)
      expect(attempts.filter(({ claimedAt }) => claimedAt !== null)).toHaveLength(1);
    expect(new Set(farSide.calls.filter((call) => runs.some((runId) => call.startsWith(runId)))).size).toBe(
      runs.length,
    );
  });

  test('a controller that stays dead past a deadline: the watchdog ends the container', async () => {
    const runId = await submit(persistent('?ms=60000', { timeoutMs: 4000 }));
    await untilRunning(runId);
    const { deadlineAt, containerId } = await client.run(runId);
    await platform.kill();
    // A runner that would not end itself.
    await engine.getContainer(containerId ?? '').pause();
    await expect
      .poll(async () => (await engine.getContainer(containerId ?? '').inspect()).State.Running, {
        timeout: 15_000,
      })
      .toBe(false);
    expect(Date.now()).toBeGreaterThan(deadlineAt!.getTime());
    platform = await PlatformProcess.start(config);
    expect(await client.waitFor(runId, AbortSignal.timeout(20_000))).toMatchObject({
      status: 'TIMEOUT',
      reason: 'DEADLINE_EXCEEDED',
    });
  });

  test('a container killed by hand after its claim: FAILED with RUNNER_CRASHED, not executed again', async () => {
    const runId = await submit(callFarSide('?ms=60000'));
    await untilRunning(runId);
    await expect.poll(() => callsOf(runId).length, { timeout: 10_000 }).toBe(1);
    await expect.poll(async () => (await client.run(runId)).steps.length, { timeout: 10_000 }).toBe(1);
    await engine.getContainer((await client.run(runId)).containerId ?? '').kill();
    expect(await client.waitFor(runId, AbortSignal.timeout(20_000))).toMatchObject({
      status: 'FAILED',
      reason: 'RUNNER_CRASHED',
      attempt: 1,
      steps: [{ status: 'FAILED' }],
    });
    expect(callsOf(runId)).toHaveLength(1);
  });

  test('a container removed by hand after its claim: executed again only because its workflow version allows it', async () => {
    const runId = await submit(callFarSide('?ms=2500', { retryAfterClaim: true }));
    await untilRunning(runId);
    await engine.getContainer((await client.run(runId)).containerId ?? '').remove({ force: true });
    expect(await client.waitFor(runId, AbortSignal.timeout(40_000))).toMatchObject({
      status: 'SUCCESS',
      attempt: 2,
    });
  });

  test('a container of no live run: removed', async () => {
    const orphan = runIdSchema.parse('01890000-0000-7000-8000-000000000000');
    const [running] = [await submit(callFarSide('?ms=1500'))];
    await untilRunning(running);
    const [live] = await containersOf(engine, config.instance);
    await engine.createContainer({
      name: `wh-${config.instance}-${orphan}-1`,
      Image: live?.ImageID ?? '',
      Labels: { ...live?.Labels, [LABELS.runId]: orphan },
    });
    await expect
      .poll(
        async () => (await containersOf(engine, config.instance)).map(({ Labels }) => Labels[LABELS.runId]),
        {
          timeout: 20_000,
        },
      )
      .not.toContain(orphan);
    expect(await client.waitFor(running, AbortSignal.timeout(20_000))).toMatchObject({ status: 'SUCCESS' });
  });

  test('two controllers: the second stands by, and leads at once when the first is killed', async () => {
    const second = PlatformProcess.start(config);
    const state = await Promise.race([second.then(() => 'leads'), sleep(2500).then(() => 'stands by')]);
    expect(state).toBe('stands by');
    const killedAt = Date.now();
    await platform.kill();
    platform = await second;
    expect(Date.now() - killedAt).toBeLessThan(5000);
    const runId = await submit(callFarSide());
    expect(await client.waitFor(runId, AbortSignal.timeout(20_000))).toMatchObject({ status: 'SUCCESS' });
  });
});
