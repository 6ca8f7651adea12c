import type pg from 'pg';
import { pino } from 'pino';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { Controller } from '../../../controller/dispatch/controller.ts';
import { hashToken, newToken } from '../../../controller/gateway/tokens.ts';
import { newRunId, tenantIdSchema, type RunId } from '../../../controller/model/ids.ts';
import { postgresDispatchStore } from '../../../controller/store/dispatch-store.ts';
import { Notifications } from '../../../controller/store/notifications.ts';
import { requestCancel } from '../../../controller/store/run-transitions.ts';
import { findRun, findStatus } from '../../../controller/store/runs.ts';
import { setPlatformLimits } from '../../../controller/store/tenants.ts';
import { admit } from '../../support/admit.ts';
import { BackendDouble } from '../../support/backend-double.ts';
import { cloneDatabase } from '../../support/database.ts';
import { makeTenant, queueRun } from '../../support/runs.ts';

describe('a controller', () => {
  const database = cloneDatabase();
  // The first one to ask waits for the server, which is no test's time.
  beforeAll(async () => {
    await database;
  });

  /** Starts a controller whose attempts take `workMs`; `fail` lets chosen statements fail. */
  async function start(
    options: {
      workMs?: number;
      claims?: boolean;
      fail?: (sql: string) => boolean;
      backend?: BackendDouble;
    } = {},
  ) {
    const { pool, url } = await database;
    const notifications = new Notifications(url, () => undefined);
    await notifications.start();
    const { workMs = 20, claims = true } = options;
    const backend = options.backend ?? new BackendDouble(pool, { workMs, claims });
    onTestFinished(() => notifications.close());
    const controller = await Controller.start({
      store: postgresDispatchStore(options.fail === undefined ? pool : failing(pool, options.fail)),
      changes: notifications,
      backend,
      policy: { attempts: 3, initialDelayMs: 10, maxDelayMs: 50 },
      claimTimeoutMs: options.claims === false ? 200 : 5000,
      log: pino({ level: 'silent' }),
    });
    onTestFinished(() => controller.close());
    return { pool, backend, submit: (tenant: string): Promise<RunId> => queueRun(pool, tenant) };
  }

  const untilAllEnded = async (pool: pg.Pool, runs: readonly RunId[], timeout = 60_000): Promise<void> => {
    const statuses = () => Promise.all(runs.map((runId) => findStatus(pool, runId)));
    await expect
      .poll(async () => new Set(await statuses()), { timeout, interval: 200 })
      .toEqual(new Set(['SUCCESS']));
  };

  test('runs many tenants’ runs, each once, within both caps', async () => {
    const { pool } = await database;
    await setPlatformLimits(pool, { maxConcurrent: 10, startRate: undefined });
    const runs: RunId[] = [];
    for (let tenant = 0; tenant < 20; tenant += 1) {
      await makeTenant(pool, `many-${tenant}`, { maxConcurrent: 2 });
      for (let n = 0; n < 3; n += 1) runs.push(await queueRun(pool, `many-${tenant}`));
    }
    const { backend } = await start();
    await untilAllEnded(pool, runs);
    expect(backend.executed.sort()).toEqual(runs.map((runId) => `${runId}-1`).sort());
    expect(backend.most).toBe(10);
  });

  test.each([
    ['admission', 'pg_advisory_xact_lock'],
    ['asking what is wanted', 'FROM platform p'],
    ['recording the container', 'SET container_id'],
    ['recording the end', 'finished_at = clock_timestamp()'],
    ['looking at the run', 'r.retry_after_claim AS'],
  ])('survives PostgreSQL failing once at %s', async (_where, statement) => {
    let failures = -1;
    const { pool, backend, submit } = await start({
      fail: (sql) => failures === 0 && sql.includes(statement) && (failures += 1) === 1,
    });
    failures = 0;
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
    const attempt = await admit(pool, 'adopted', hashToken(claimToken));
    await backend.start({ ...attempt, claimToken });
    const startedAt = performance.now();
    await expect(start({ backend, fail: (sql) => sql.includes('FROM platform p') })).rejects.toThrow(
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
});

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
