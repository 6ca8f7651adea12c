import type pg from 'pg';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { Controller } from '../../../controller/dispatch/controller.ts';
import { hashToken, newToken } from '../../../controller/gateway/tokens.ts';
import { newRunId, tenantIdSchema, type RunId } from '../../../controller/model/ids.ts';
import { DISPATCH_QUEUE, tenantQueue } from '../../../controller/queue/names.ts';
import { openQueueServer } from '../../../controller/queue/queue-server.ts';
import { admitRun, requestCancel } from '../../../controller/store/run-transitions.ts';
import { Notifications } from '../../../controller/store/notifications.ts';
import { findRun, findStatus } from '../../../controller/store/runs.ts';
import { setPlatformLimits } from '../../../controller/store/tenants.ts';
import { BackendDouble } from '../../support/backend-double.ts';
import { cloneDatabase } from '../../support/database.ts';
import { describeWith, redis, type Requirement } from '../../support/requires.ts';
import { makeTenant, queueRun } from '../../support/runs.ts';
import { RunQueues } from '../../../controller/queue/run-queues.ts';

const embedded: Requirement<undefined> = () => Promise.resolve({ value: undefined });

suite('with the queue in PostgreSQL', embedded);
suite('with the queue in Redis', redis);

function suite(name: string, requirement: Requirement<string | undefined>): void {
  describeWith(`a controller ${name}`, requirement, (redisUrl) => {
    const database = cloneDatabase();

    /** Starts a controller whose attempts take `workMs`; `fail` lets chosen statements fail. */
    async function start(
      options: {
        workMs?: number;
        claims?: boolean;
        maxConnections?: number;
        fail?: (sql: string) => boolean;
        backend?: BackendDouble;
      } = {},
    ) {
      const { pool, url } = await database;
      const notifications = new Notifications(url, () => undefined);
      await notifications.start();
      const server = openQueueServer({
        databaseUrl: url,
        redisUrl,
        maxConnections: options.maxConnections ?? 60,
        onError: () => undefined,
      });
      const queues = new RunQueues(server);
      const submit = async (tenant: string): Promise<RunId> => {
        const runId = await queueRun(pool, tenant);
        await queues.enqueue(tenantIdSchema.parse(tenant), runId);
        return runId;
      };
      const { workMs = 20, claims = true } = options;
      const backend = options.backend ?? new BackendDouble(pool, { workMs, claims });
      onTestFinished(async () => {
        await queues.close();
        await server.close();
        await notifications.close();
      });
      const controller = await Controller.start({
        pool: options.fail === undefined ? pool : failing(pool, options.fail),
        server,
        notifications,
        backend,
        policy: { attempts: 3, initialDelayMs: 10, maxDelayMs: 50 },
        claimTimeoutMs: options.claims === false ? 200 : 5000,
        log: pino({ level: 'silent' }),
      });
      onTestFinished(() => controller.close());
      return { pool, backend, server, submit };
    }

    const untilAllEnded = async (pool: pg.Pool, runs: readonly RunId[], timeout = 60_000): Promise<void> => {
      const statuses = () => Promise.all(runs.map((runId) => findStatus(pool, runId)));
      await expect
        .poll(async () => new Set(await statuses()), { timeout, interval: 200 })
        .toEqual(new Set(['SUCCESS']));
    };

    test('runs many tenants’ runs, each once, with more tenants at work than the server bears lanes for', async () => {
      const { pool, backend, submit } = await start({ maxConnections: 36 });
      await setPlatformLimits(pool, { maxConcurrent: 10, startRate: undefined });
      const runs: RunId[] = [];
      for (let tenant = 0; tenant < 20; tenant += 1) {
        await makeTenant(pool, `many-${tenant}`, { maxConcurrent: 2 });
        for (let n = 0; n < 3; n += 1) runs.push(await submit(`many-${tenant}`));
      }
      await untilAllEnded(pool, runs);
      expect(backend.executed.sort()).toEqual(runs.map((runId) => `${runId}-1`).sort());
      expect(backend.most).toBeLessThanOrEqual(10);
    });

    test.each([
      ['admission', 'pg_advisory_xact_lock'],
      ['opening a lane', 'FROM tenants WHERE tenant_id'],
      ['recording the container', 'SET container_id'],
      ['recording the end', 'finished_at = clock_timestamp()'],
      ['looking at the run', 'SELECT status FROM workflow_runs'],
    ])('survives PostgreSQL failing once at %s', async (_where, statement) => {
      let failures = 0;
      const { pool, backend, submit } = await start({
        fail: (sql) => failures === 0 && sql.includes(statement) && (failures += 1) === 1,
      });
      await makeTenant(pool, 'unlucky', { maxConcurrent: 2 });
      const runs = [await submit('unlucky'), await submit('unlucky')];
      await untilAllEnded(pool, runs);
      expect(failures).toBe(1);
      expect(backend.executed.filter((name) => runs.some((runId) => name.startsWith(runId)))).toHaveLength(2);
    });

    test('makes the attempt again when its container never claims, and ends as RETRIES_EXHAUSTED', async () => {
      const { pool, submit } = await start({ claims: false });
      await makeTenant(pool, 'silent');
      const runId = await submit('silent');
      await expect.poll(() => findStatus(pool, runId), { timeout: 30_000 }).toBe('FAILED');
      const run = await findRun(pool, runId);
      expect(run).toMatchObject({ reason: 'RETRIES_EXHAUSTED', attempt: 3 });
      expect(run?.attempts.map(({ reason }) => reason)).toEqual([
        'CLAIM_TIMEOUT',
        'CLAIM_TIMEOUT',
        'RETRIES_EXHAUSTED',
      ]);
      expect(run?.message).toContain('CLAIM_TIMEOUT');
    });

    test('removes what belongs to no live run, and goes on when one of it cannot be removed', async () => {
      const { backend, submit, pool } = await start();
      const exit = { kind: 'exited', exitCode: 0, oomKilled: false, at: new Date() } as const;
      const tenantId = tenantIdSchema.parse('gone');
      const [stuck, other] = [newRunId(), newRunId()];
      for (const runId of [stuck, other]) {
        const containerId = runId;
        backend.leave({ runId, attempt: 1, tenantId, containerId, state: 'ended', exit }, runId === stuck);
      }
      const left = async () => (await backend.list()).map(({ runId }) => runId);
      await expect.poll(left, { timeout: 15_000 }).toEqual([stuck]);
      await makeTenant(pool, 'after');
      await untilAllEnded(pool, [await submit('after')]);
    });

    test('leads although it cannot look for what belongs to no live run yet', async () => {
      const { pool } = await database;
      const backend = new BackendDouble(pool, { workMs: 20, claims: true });
      backend.unanswered.lists = 1;
      const exit = { kind: 'exited', exitCode: 0, oomKilled: false, at: new Date() } as const;
      const orphan = { runId: newRunId(), attempt: 1, tenantId: tenantIdSchema.parse('gone') };
      backend.leave({ ...orphan, containerId: 'c', state: 'ended', exit }, false);
      const { submit } = await start({ backend });
      await makeTenant(pool, 'unlisted');
      await untilAllEnded(pool, [await submit('unlisted')]);
      await expect.poll(() => backend.find(orphan), { timeout: 15_000 }).toBeUndefined();
    });

    test('a start that fails is told at once, and leaves what is live to the next leader', async () => {
      const { pool } = await database;
      const backend = new BackendDouble(pool, { workMs: 8_000, claims: true });
      await makeTenant(pool, 'adopted');
      const runId = await queueRun(pool, 'adopted');
      const claimToken = newToken();
      const admission = await admitRun(pool, runId, {
        backend: 'docker',
        claimTokenHash: hashToken(claimToken),
      });
      if (admission.kind !== 'admitted') throw new Error(admission.kind);
      await backend.start({ ...admission.attempt, claimToken });
      const startedAt = performance.now();
      await expect(start({ backend, fail: (sql) => sql.includes('queued OR live') })).rejects.toThrow(
        'injected',
      );
      expect(performance.now() - startedAt).toBeLessThan(5_000);
      expect(backend.ended).toEqual([]);
      expect(await findStatus(pool, runId)).toBe('RUNNING');
      await start({ backend });
      await untilAllEnded(pool, [runId]);
      expect(backend.executed).toHaveLength(1);
    });

    test('a start that nobody answers costs none of the attempts, and none of the time', async () => {
      const { pool } = await database;
      const backend = new BackendDouble(pool, { workMs: 20, claims: true });
      const { submit } = await start({ backend });
      await makeTenant(pool, 'unanswered');
      backend.unanswered.starts = 6;
      const runId = await submit('unanswered');
      await untilAllEnded(pool, [runId]);
      expect(await findRun(pool, runId)).toMatchObject({ attempt: 1, reason: null });
      expect(backend.executed).toEqual([`${runId}-1`]);
    });

    test('a run whose start nobody answers can be canceled', async () => {
      const { pool } = await database;
      const backend = new BackendDouble(pool, { workMs: 20, claims: true });
      const { submit } = await start({ backend });
      await makeTenant(pool, 'hopeless');
      backend.unanswered.starts = Infinity;
      const runId = await submit('hopeless');
      await expect.poll(() => findStatus(pool, runId), { timeout: 10_000 }).toBe('STARTING');
      await requestCancel(pool, runId);
      await expect.poll(() => findStatus(pool, runId), { timeout: 10_000 }).toBe('CANCELED');
    });

    test('loses no run when the queue is lost', async () => {
      const { pool, backend, server, submit } = await start({ workMs: 1500 });
      await makeTenant(pool, 'flushed', { maxConcurrent: 1 });
      const runs: RunId[] = [];
      for (let n = 0; n < 3; n += 1) runs.push(await submit('flushed'));
      await expect
        .poll(() => backend.executed.some((name) => name.startsWith(runs[0]!)), { timeout: 10_000 })
        .toBe(true);
      for (const name of [DISPATCH_QUEUE, tenantQueue(tenantIdSchema.parse('flushed'))]) {
        const queue = server.queue(name);
        await queue.obliterate({ force: true });
        await queue.close();
      }
      await untilAllEnded(pool, runs);
      expect(backend.executed.filter((name) => runs.some((runId) => name.startsWith(runId)))).toHaveLength(3);
    });
  });
}

/** @returns the pool, with statements that fail as if PostgreSQL had gone away. */
function failing(pool: pg.Pool, fail: (sql: string) => boolean): pg.Pool {
  const guard = <T extends pg.Pool | pg.PoolClient>(target: T): T =>
    new Proxy(target, {
      get(object, key) {
        const value: unknown = Reflect.get(object, key);
        if (typeof value !== 'function') return value;
        if (key === 'query') {
          return (sql: string, ...rest: unknown[]) =>
            fail(sql)
              ? Promise.reject(Object.assign(new Error('injected'), { code: 'ECONNREFUSED' }))
              : (value.call(object, sql, ...rest) as unknown);
        }
        if (key === 'connect') return async () => guard((await value.call(object)) as pg.PoolClient);
        return value.bind(object) as unknown;
      },
    });
  return guard(pool);
}
