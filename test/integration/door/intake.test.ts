import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { Client } from '../../../controller/client.ts';
import { deadLetterOf, DeadLetters } from '../../../controller/intake/dead-letters.ts';
import { Intake } from '../../../controller/intake/intake.ts';
import { newRunId, type RunId, type TenantId } from '../../../controller/model/ids.ts';
import { INTAKE_QUEUE } from '../../../controller/queue/names.ts';
import { openQueueServer } from '../../../controller/queue/queue-server.ts';
import { KeyRing } from '../../../controller/secrets/cipher.ts';
import { openLogStore } from '../../../controller/store/logs/open.ts';
import { Notifications } from '../../../controller/store/notifications.ts';
import { requestCancel } from '../../../controller/store/run-transitions.ts';
import { findRun, listRuns } from '../../../controller/store/runs.ts';
import { cloneDatabase } from '../../support/database.ts';
import { describeWith, redis, type Requirement } from '../../support/requires.ts';
import { makeTenant, queueRun } from '../../support/runs.ts';

const embedded: Requirement<undefined> = () => Promise.resolve({ value: undefined });

suite('with the queue in PostgreSQL', embedded);
suite('with the queue in Redis', redis);

function suite(name: string, requirement: Requirement<string | undefined>): void {
  describeWith(name, requirement, (redisUrl) => {
    const database = cloneDatabase();

    /** Opens a client, a producer's queue, and intake unless it is to be started later. */
    async function open(options: { readonly intake?: boolean } = {}) {
      const { pool, url } = await database;
      const notifications = new Notifications(url, () => undefined);
      await notifications.start();
      const server = openQueueServer({
        databaseUrl: url,
        redisUrl,
        maxConnections: 8,
        onError: () => undefined,
      });
      const deadLetters = new DeadLetters(server);
      const queue = server.queue<unknown>(INTAKE_QUEUE);
      const logs = await openLogStore({ pool, mongodbUrl: undefined });
      const keys = KeyRing.parse(`t:${Buffer.alloc(32).toString('base64')}`);
      const client = new Client({ pool, notifications, server, logs, keys });
      const log = pino({ level: 'silent' });
      const startIntake = async () => {
        const intake = new Intake({ pool, server, changes: notifications, deadLetters, log });
        await intake.start();
        return intake;
      };
      let intake = options.intake === false ? undefined : await startIntake();
      onTestFinished(async () => {
        await intake?.close();
        await queue.close();
        await client.close();
        await deadLetters.close();
        await logs.close();
        await server.close();
        await notifications.close();
      });
      return {
        ...{ pool, queue, client, deadLetters },
        restartIntake: async () => {
          await intake?.close();
          intake = await startIntake();
        },
      };
    }

    /** @returns the id of a workflow version of the tenant. */
    async function versionOf(tenant: TenantId) {
      const { pool } = await database;
      const runId = await queueRun(pool, tenant);
      const run = await findRun(pool, runId);
      await requestCancel(pool, runId);
      return run!.workflowVersionId;
    }

    const queuedOf = async (tenantId: TenantId) =>
      (await listRuns((await database).pool, { tenantId, status: 'QUEUED' })).toReversed();
    const inputsOf = async (tenantId: TenantId): Promise<number[]> => {
      const { rows } = await (
        await database
      ).pool.query<{ n: number }>(
        `SELECT (input ->> 'n')::int AS n FROM workflow_runs WHERE tenant_id = $1 AND input ? 'n' ORDER BY queued_at, id`,
        [tenantId],
      );
      return rows.map(({ n }) => n);
    };

    test('records what any producer adds, with its trace context', async () => {
      const { pool, queue } = await open();
      const tenantId = await makeTenant(pool, 'plain');
      const workflowVersionId = await versionOf(tenantId);
      const jobId = newRunId();
      const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
      await queue.add('any', { tenantId, workflowVersionId, input: { n: 1 }, traceparent }, { jobId });
      await expect.poll(() => queuedOf(tenantId), { timeout: 10_000 }).toHaveLength(1);
      const { rows } = await pool.query('SELECT id, traceparent FROM workflow_runs WHERE input @> $1', [
        { n: 1 },
      ]);
      expect(rows).toEqual([{ id: jobId, traceparent }]);
      await expect.poll(() => queue.getJob(jobId)).toBeUndefined();
    });

    test('jobs of a full tenant that waits are taken as places become free, in order, and nobody else waits', async () => {
      const { pool, queue } = await open();
      const tenantId = await makeTenant(pool, 'waits', { maxQueued: 2, whenFull: 'wait' });
      const other = await makeTenant(pool, 'in-a-hurry');
      const [workflowVersionId, otherVersion] = [await versionOf(tenantId), await versionOf(other)];
      await queue.addBulk(
        Array.from({ length: 60 }, (_, n) => ({
          name: 'run',
          data: { tenantId, workflowVersionId, input: { n } },
          opts: { jobId: `w-${n}` },
        })),
      );
      await queue.add('run', { tenantId: other, workflowVersionId: otherVersion });
      await expect.poll(() => queuedOf(other), { timeout: 10_000, interval: 20 }).toHaveLength(1);
      await expect.poll(() => queue.getJobCounts('delayed'), { timeout: 10_000 }).toEqual({ delayed: 58 });
      expect(await queuedOf(tenantId)).toHaveLength(2);
      for (let left = 1; left <= 10; left += 1) {
        const [oldest] = await queuedOf(tenantId);
        await requestCancel(pool, oldest!.id);
        await expect.poll(() => inputsOf(tenantId), { timeout: 10_000, interval: 20 }).toHaveLength(2 + left);
        expect((await queuedOf(tenantId)).length).toBe(2);
      }
      const inputs = await inputsOf(tenantId);
      // Eight jobs are looked at at once when they come: within these any order may be.
      for (const [index, n] of inputs.entries()) expect(Math.abs(n - index)).toBeLessThan(8);
      expect(new Set(inputs).size).toBe(inputs.length);
      await expect.poll(() => queue.getJobCounts('delayed'), { timeout: 10_000 }).toEqual({ delayed: 48 });
    });

    test('jobs that wait are not lost with their controller', async () => {
      const { pool, queue, restartIntake } = await open();
      const tenantId = await makeTenant(pool, 'survives', { maxQueued: 0, whenFull: 'wait' });
      const workflowVersionId = await versionOf(await makeTenant(pool, 'survives', { maxQueued: 1 }));
      await makeTenant(pool, 'survives', { maxQueued: 0, whenFull: 'wait' });
      await queue.add('run', { tenantId, workflowVersionId, input: { n: 7 } }, { jobId: 'survivor' });
      await expect
        .poll(async () => (await queue.getJob('survivor'))?.delay, { timeout: 10_000 })
        .toBeGreaterThan(0);
      await restartIntake();
      await (await queue.getJob('survivor'))?.promote();
      await makeTenant(pool, 'survives', { maxQueued: 1, whenFull: 'wait' });
      await expect.poll(() => inputsOf(tenantId), { timeout: 10_000 }).toEqual([7]);
      await expect.poll(() => queue.getJob('survivor'), { timeout: 10_000 }).toBeUndefined();
    });

    test('jobs of a full tenant that rejects fail, with when to try again, and are no dead letters', async () => {
      const { pool, queue, deadLetters } = await open();
      const tenantId = await makeTenant(pool, 'rejects', { maxQueued: 1 });
      const workflowVersionId = await versionOf(tenantId);
      await queueRun(pool, tenantId);
      const keep = { removeOnFail: false };
      const job = await queue.add('run', { tenantId, workflowVersionId }, { jobId: 'rejected', ...keep });
      await expect
        .poll(async () => (await queue.getJob('rejected'))?.failedReason, { timeout: 10_000 })
        .toMatch(/^QUEUE_FULL: tenant "rejects" .*; try again in \d+ ms$/);
      expect(await deadLetters.list({ tenantId, limit: 10 })).toEqual([]);
      await job.remove();
    });

    test('refused jobs become dead letters, without their payload, and are retried only if that is known', async () => {
      const { pool, queue, client } = await open();
      const tenantId = await makeTenant(pool, 'refused');
      const workflowVersionId = await versionOf(tenantId);
      const canary = 'canary-payload';
      await queue.add(
        'run',
        { tenantId, workflowVersionId, input: canary, surprise: canary },
        { jobId: 'bad' },
      );
      await queue.add('run', { tenantId: 'not-yet', workflowVersionId, input: canary }, { jobId: 'input' });
      await queue.add('run', { tenantId: 'not-yet', workflowVersionId }, { jobId: 'early' });
      const letters = () => client.deadLetters();
      await expect.poll(letters, { timeout: 10_000 }).toHaveLength(3);
      expect(JSON.stringify(await letters())).not.toContain(canary);
      expect(await client.deadLetters({ tenantId })).toMatchObject([
        { id: 'job-bad', kind: 'job', code: 'PAYLOAD_INVALID', runId: null, tenantId },
      ]);
      expect(await client.deadLetter('job-early')).toMatchObject({ code: 'TENANT_NOT_FOUND' });

      await expect(client.retryDeadLetter('job-bad')).rejects.toMatchObject({ code: 'DEAD_LETTER_FINAL' });
      await expect(client.retryDeadLetter('job-input')).rejects.toMatchObject({ code: 'DEAD_LETTER_FINAL' });
      await expect(client.retryDeadLetter('job-early')).rejects.toMatchObject({ code: 'TENANT_NOT_FOUND' });
      expect(await letters()).toHaveLength(3);
      const late = await makeTenant(pool, 'not-yet');
      await pool.query('UPDATE workflow_versions SET tenant_id = $1 WHERE id = $2', [
        late,
        workflowVersionId,
      ]);
      const { runId } = await client.retryDeadLetter('job-early');
      expect(await client.run(runId)).toMatchObject({ status: 'QUEUED', tenantId: late, input: {} });
      await client.dropDeadLetter('job-bad');
      await client.dropDeadLetter('job-input');
      expect(await letters()).toEqual([]);
      await expect(client.deadLetter('job-bad')).rejects.toMatchObject({ code: 'DEAD_LETTER_NOT_FOUND' });
      await expect(client.dropDeadLetter('job-bad')).rejects.toMatchObject({ code: 'DEAD_LETTER_NOT_FOUND' });
      await expect(client.retryDeadLetter('job-bad')).rejects.toMatchObject({
        code: 'DEAD_LETTER_NOT_FOUND',
      });
    });

    test('a run that the infrastructure failed is one dead letter, and retrying it is one new run', async () => {
      const { pool, client, deadLetters } = await open({ intake: false });
      const tenantId = await makeTenant(pool, 'undone');
      const runId: RunId = await queueRun(pool, tenantId, { input: { secret: 'canary-input' } });
      const verdict = {
        status: 'FAILED',
        reason: 'RETRIES_EXHAUSTED',
        message: 'all 3 attempts failed',
        infrastructure: false,
      } as const;
      const end = { runId, tenantId, attempt: 3, verdict, final: true };
      expect(deadLetterOf({ ...end, final: false })).toBeUndefined();
      expect(deadLetterOf({ ...end, verdict: { ...verdict, reason: 'STEP_FAILED' } })).toBeUndefined();
      const letter = deadLetterOf(end)!;
      await Promise.all([deadLetters.add(letter), deadLetters.add(letter)]);
      await deadLetters.add(letter);
      const letters = await client.deadLetters({ tenantId });
      expect(letters).toMatchObject([{ id: `run-${runId}`, code: 'RETRIES_EXHAUSTED', attempts: 3, runId }]);
      expect(JSON.stringify(letters)).not.toContain('canary-input');
      const [one, two] = await Promise.allSettled([
        client.retryDeadLetter(letter.id),
        client.retryDeadLetter(letter.id),
      ]);
      const retried = [one, two].filter((outcome) => outcome.status === 'fulfilled');
      expect(new Set(retried.map(({ value }) => value.runId)).size).toBe(1);
      expect(await client.run(retried[0]!.value.runId)).toMatchObject({
        rerunOf: runId,
        input: { secret: 'canary-input' },
      });
      expect(await client.deadLetters({ tenantId })).toEqual([]);
    });

    test('dead letters are shown newest first, and what is none of ours is not', async () => {
      const { deadLetters, client } = await open({ intake: false });
      const letter = (n: number) => ({
        ...({ id: `job-${n}`, kind: 'job', tenantId: null, runId: null, code: 'PAYLOAD_INVALID' } as const),
        ...{ message: 'wrong', attempts: null, at: new Date().toISOString(), reference: null },
      });
      for (let n = 0; n < 5; n += 1) await deadLetters.add(letter(n));
      expect((await client.deadLetters({ limit: 2 })).map(({ id }) => id)).toEqual(['job-4', 'job-3']);
      expect(await client.deadLetters()).toHaveLength(5);
      await Promise.all([0, 1, 2, 3, 4].map((n) => client.dropDeadLetter(`job-${n}`)));
    });

    test('jobs that are delivered twice are one run', async () => {
      const { pool, queue } = await open();
      const tenantId = await makeTenant(pool, 'twice');
      const workflowVersionId = await versionOf(tenantId);
      const jobId = `job-${randomUUID()}`;
      for (let delivery = 0; delivery < 3; delivery += 1) {
        await queue.add('run', { tenantId, workflowVersionId, input: { n: 1 } }, { jobId });
        await expect.poll(() => queue.getJob(jobId), { timeout: 10_000, interval: 20 }).toBeUndefined();
      }
      expect(await inputsOf(tenantId)).toEqual([1]);
    });
  });
}
