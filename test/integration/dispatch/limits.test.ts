import type pg from 'pg';
import { pino } from 'pino';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { systemClock, type Clock } from '../../../controller/clock.ts';
import { Controller } from '../../../controller/dispatch/controller.ts';
import type { RunId } from '../../../controller/model/ids.ts';
import { postgresDispatchStore } from '../../../controller/store/dispatch-store.ts';
import { Notifications } from '../../../controller/store/notifications.ts';
import { requestCancel } from '../../../controller/store/run-transitions.ts';
import { findRun, findStatus } from '../../../controller/store/runs.ts';
import { setPaused, setPlatformLimits } from '../../../controller/store/tenants.ts';
import { BackendDouble } from '../../support/backend-double.ts';
import { cloneDatabase } from '../../support/database.ts';
import { makeTenant, queueRun } from '../../support/runs.ts';

/** Nothing is looked at again by and by: what takes effect was told, or is timed. */
const eventsOnly: Clock = { ...systemClock, every: () => () => undefined };
const forAWhile = { timeout: 20_000, interval: 20 };

describe('limits of dispatch', () => {
  const database = cloneDatabase();
  // The first one to ask waits for the server, which is no test's time.
  beforeAll(async () => {
    await database;
  });

  /** Starts a controller. What is live at the end of the test is canceled. */
  async function start(backend: BackendDouble, more: { initialDelayMs?: number } = {}): Promise<Controller> {
    const { pool, url } = await database;
    await setPlatformLimits(pool, { maxConcurrent: 100, startRate: undefined });
    const notifications = new Notifications(url, () => undefined);
    await notifications.start();
    onTestFinished(() => notifications.close());
    const controller = await Controller.start({
      store: postgresDispatchStore(pool),
      changes: notifications,
      backend,
      policy: { attempts: 1_000, initialDelayMs: 10, maxDelayMs: 2_000, ...more },
      claimTimeoutMs: 20_000,
      log: pino({ level: 'silent' }),
      clock: eventsOnly,
      random: () => 0.5,
    });
    onTestFinished(async () => {
      const { rows } = await pool.query<{ id: RunId }>(
        `SELECT id FROM workflow_runs WHERE status = 'QUEUED'`,
      );
      for (const { id } of rows) await requestCancel(pool, id);
      await controller.cancelLive();
      await controller.close();
    });
    return controller;
  }

  /** A backend whose attempts take long, or `workMs`. */
  const backendOf = async (workMs = 600_000): Promise<BackendDouble> =>
    new BackendDouble((await database).pool, { workMs, claims: true });

  const queue = async (pool: pg.Pool, tenant: string, runs: number): Promise<RunId[]> => {
    const queued: RunId[] = [];
    for (let n = 0; n < runs; n += 1) queued.push(await queueRun(pool, tenant));
    return queued;
  };

  const live = async (pool: pg.Pool, ...tenants: string[]): Promise<number[]> => {
    const { rows } = await pool.query<{ tenant_id: string }>(
      `SELECT tenant_id FROM workflow_runs WHERE status IN ('STARTING', 'RUNNING')`,
    );
    return tenants.map((tenant) => rows.filter(({ tenant_id }) => tenant_id === tenant).length);
  };

  const untilEnded = async (pool: pg.Pool, runs: readonly RunId[]): Promise<void> => {
    const statuses = () => Promise.all(runs.map((runId) => findStatus(pool, runId)));
    await expect.poll(async () => new Set(await statuses()), forAWhile).toEqual(new Set(['SUCCESS']));
  };

  /** Whatever was decided before is done when a run of somebody else, submitted now, has ended. */
  const settled = async (pool: pg.Pool): Promise<void> => {
    await makeTenant(pool, 'bystander');
    const [runId] = await queue(pool, 'bystander', 1);
    await expect.poll(() => findStatus(pool, runId!), forAWhile).toBe('RUNNING');
    await requestCancel(pool, runId!);
    await expect.poll(() => findStatus(pool, runId!), forAWhile).toBe('CANCELED');
  };

  test('a tenant that is paused starts nothing, what is live goes on, and resumed it goes on at once', async () => {
    const { pool } = await database;
    await start(await backendOf());
    const tenantId = await makeTenant(pool, 'resting', { maxConcurrent: 2 });
    const [first] = await queue(pool, 'resting', 1);
    await expect.poll(() => findStatus(pool, first!), forAWhile).toBe('RUNNING');
    await setPaused(pool, tenantId, true);
    const [second] = await queue(pool, 'resting', 1);
    await settled(pool);
    expect([await findStatus(pool, first!), await findStatus(pool, second!)]).toEqual(['RUNNING', 'QUEUED']);
    await setPaused(pool, tenantId, false);
    await expect.poll(() => findStatus(pool, second!), forAWhile).toBe('RUNNING');
  });

  test('caps that are raised fill at once, and one that is lowered ends nothing', async () => {
    const { pool } = await database;
    await start(await backendOf());
    await makeTenant(pool, 'grows', { maxConcurrent: 1 });
    await makeTenant(pool, 'beside', { maxConcurrent: 10 });
    await queue(pool, 'grows', 6);
    await settled(pool);
    expect(await live(pool, 'grows')).toEqual([1]);
    await makeTenant(pool, 'grows', { maxConcurrent: 3 });
    await expect.poll(() => live(pool, 'grows'), forAWhile).toEqual([3]);
    await setPlatformLimits(pool, { maxConcurrent: 5, startRate: undefined });
    await queue(pool, 'beside', 6);
    await expect.poll(() => live(pool, 'grows', 'beside'), forAWhile).toEqual([3, 2]);
    await makeTenant(pool, 'grows', { maxConcurrent: 2 });
    await setPlatformLimits(pool, { maxConcurrent: 8, startRate: undefined });
    await expect.poll(() => live(pool, 'grows', 'beside'), forAWhile).toEqual([3, 5]);
  });

  test('a weight that is changed decides who gets the next slot', async () => {
    const { pool } = await database;
    await start(await backendOf());
    await setPlatformLimits(pool, { maxConcurrent: 4, startRate: undefined });
    for (const tenant of ['heavy', 'light']) await makeTenant(pool, tenant, { maxConcurrent: 10 });
    const queued = { heavy: await queue(pool, 'heavy', 2), light: await queue(pool, 'light', 2) };
    await expect.poll(() => live(pool, 'heavy', 'light'), forAWhile).toEqual([2, 2]);
    for (const tenant of ['heavy', 'light']) await queue(pool, tenant, 3);
    await makeTenant(pool, 'heavy', { maxConcurrent: 10, weight: 3 });
    await requestCancel(pool, queued.light[0]!);
    await expect.poll(() => live(pool, 'heavy', 'light'), forAWhile).toEqual([3, 1]);
  });

  test('a start rate that is set holds starts back, and lifted it lets them go', async () => {
    const { pool } = await database;
    await start(await backendOf());
    const startRate = { max: 1, durationMs: 3_600_000 };
    await makeTenant(pool, 'limited', { maxConcurrent: 10, startRate });
    await queue(pool, 'limited', 3);
    await settled(pool);
    expect(await live(pool, 'limited')).toEqual([1]);
    await makeTenant(pool, 'limited', { maxConcurrent: 10 });
    await expect.poll(() => live(pool, 'limited'), forAWhile).toEqual([3]);
    await setPlatformLimits(pool, { maxConcurrent: 100, startRate });
    await queue(pool, 'limited', 3);
    await expect.poll(() => live(pool, 'limited'), forAWhile).toEqual([4]);
    await setPlatformLimits(pool, { maxConcurrent: 100, startRate: undefined });
    await expect.poll(() => live(pool, 'limited'), forAWhile).toEqual([6]);
  });

  test('a start rate holds across a change of leader, of a tenant without work, too', async () => {
    const { pool } = await database;
    const backend = await backendOf(20);
    const startRate = { max: 2, durationMs: 4_000 };
    await makeTenant(pool, 'followed', { maxConcurrent: 10, startRate });
    const first = await start(backend);
    const runs = await queue(pool, 'followed', 2);
    await untilEnded(pool, runs);
    await first.close();
    await start(backend);
    runs.push(...(await queue(pool, 'followed', 2)));
    await untilEnded(pool, runs);
    const { rows } = await pool.query<{ ms: number }>(
      `SELECT (extract(epoch FROM created_at) * 1000)::float8 AS ms FROM run_attempts
       WHERE run_id = ANY ($1) ORDER BY created_at`,
      [runs],
    );
    expect(rows).toHaveLength(4);
    expect(rows[2]!.ms - rows[0]!.ms).toBeGreaterThanOrEqual(4_000);
    expect(rows[3]!.ms - rows[1]!.ms).toBeGreaterThanOrEqual(4_000);
  });

  test('an attempt that is postponed starts when it is due: not before, and without being told', async () => {
    const { pool } = await database;
    const backend = await backendOf(20);
    await start(backend, { initialDelayMs: 2_000 });
    const tenantId = await makeTenant(pool, 'postponed');
    backend.refusing.set(tenantId, 'EVICTED');
    const [runId] = await queue(pool, 'postponed', 1);
    await expect.poll(() => backend.refused, forAWhile).toEqual([`${runId}-1`]);
    backend.refusing.delete(tenantId);
    await untilEnded(pool, [runId!]);
    expect(await findRun(pool, runId!)).toMatchObject({ attempt: 2 });
    const { rows } = await pool.query<{ ms: number }>(
      `SELECT (extract(epoch FROM two.created_at - one.ended_at) * 1000)::float8 AS ms
       FROM run_attempts one, run_attempts two
       WHERE one.run_id = $1 AND two.run_id = $1 AND one.number = 1 AND two.number = 2`,
      [runId],
    );
    // Three quarters of the delay: the jitter is given.
    expect(rows[0]?.ms).toBeGreaterThanOrEqual(1_490);
    expect(rows[0]?.ms).toBeLessThan(4_000);
  });

  test('a tenant whose starts are refused slows down, and nobody else', async () => {
    const { pool } = await database;
    const backend = await backendOf(20);
    await start(backend);
    const tenantId = await makeTenant(pool, 'over-quota', { maxConcurrent: 10 });
    await makeTenant(pool, 'unconcerned', { maxConcurrent: 10 });
    backend.refusing.set(tenantId, 'QUOTA_EXCEEDED');
    const pressed = await queue(pool, 'over-quota', 20);
    const startedAt = performance.now();
    for (let n = 0; n < 10; n += 1) await untilEnded(pool, await queue(pool, 'unconcerned', 2));
    // The first wave is as wide as the cap; then the window closes to one, and the holds double from 250 ms.
    const holds = Math.log2(1 + (performance.now() - startedAt) / 250);
    expect(backend.refused.length).toBeGreaterThan(0);
    expect(backend.refused.length).toBeLessThanOrEqual(10 + 5 + 2 + 1 + Math.ceil(holds));
    expect(backend.executed.every((name) => name.endsWith('-1'))).toBe(true);
    backend.refusing.clear();
    await expect
      .poll(async () => new Set(await Promise.all(pressed.map((runId) => findStatus(pool, runId)))), {
        ...forAWhile,
        timeout: 50_000,
      })
      .toEqual(new Set(['SUCCESS']));
  });
});
