import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { WormholeError } from '../../../controller/errors.ts';
import { submitRun } from '../../../controller/intake/submit.ts';
import { tenantIdSchema, type RunId, type TenantId } from '../../../controller/model/ids.ts';
import { tenantSchema } from '../../../controller/model/tenant.ts';
import { divided } from '../../../controller/store/queue-room.ts';
import { requestCancel } from '../../../controller/store/run-transitions.ts';
import { upsertTenant } from '../../../controller/store/tenants.ts';
import { cloneDatabase } from '../../support/database.ts';
import { makeTenant, oneStep, queueRun } from '../../support/runs.ts';

const { pool } = await cloneDatabase();

async function queued(tenantId: TenantId): Promise<number> {
  const { rows } = await pool.query<{ queued: number }>(
    `SELECT count(*)::int AS queued FROM workflow_runs WHERE tenant_id = $1 AND status = 'QUEUED'`,
    [tenantId],
  );
  return rows[0]!.queued;
}

/** Queues runs that cost nothing, past the door. */
async function fill(tenantId: TenantId, runs: number, queuedAgo = '0 s'): Promise<void> {
  await pool.query(
    `INSERT INTO workflow_runs (id, tenant_id, workflow_version_id, input, request_digest, timeout_ms, limits, queued_at)
     SELECT gen_random_uuid(), $1, gen_random_uuid(), '{}', '', 1, '{}', clock_timestamp() - $3::interval
     FROM generate_series(1, $2)`,
    [tenantId, runs, queuedAgo],
  );
}

/** @returns the run, or what it was refused with. */
const submit = (tenantId: TenantId): Promise<RunId | WormholeError> =>
  queueRun(pool, tenantId).catch((error: unknown) => {
    if (error instanceof WormholeError) return error;
    throw error;
  });
const many = (tenantId: TenantId, runs: number) =>
  Promise.all(Array.from({ length: runs }, () => submit(tenantId)));
const accepted = (outcomes: readonly (RunId | WormholeError)[]): RunId[] =>
  outcomes.filter((outcome) => typeof outcome === 'string');

describe('maxQueued holds exactly', () => {
  test.each([0, 1, 7, 8, 9, 37])('with %d places and 60 submitters at once', async (maxQueued) => {
    const tenant = await makeTenant(pool, `exact-${maxQueued}`, { maxQueued });
    const outcomes = await many(tenant, 60);
    expect(accepted(outcomes)).toHaveLength(maxQueued);
    expect(await queued(tenant)).toBe(maxQueued);
    for (const outcome of outcomes) {
      if (typeof outcome !== 'string') expect(outcome.code).toBe('QUEUE_FULL');
    }
  });

  test('while runs leave the queue, and none of the places that they leave is lost', async () => {
    const tenant = await makeTenant(pool, 'leaving', { maxQueued: 10 });
    let most = 0;
    for (let round = 0; round < 8; round += 1) {
      const runs = accepted(await many(tenant, 20));
      most = Math.max(most, await queued(tenant));
      await Promise.all(runs.slice(0, round + 1).map((runId) => requestCancel(pool, runId)));
      await many(tenant, 20);
      expect(await queued(tenant)).toBe(10);
      await pool.query(`UPDATE workflow_runs SET status = 'CANCELED', reason = 'CANCELED', finished_at = now()
                        WHERE tenant_id = 'leaving' AND status = 'QUEUED'`);
    }
    expect(most).toBe(10);
  });

  test('when it is changed at runtime, up and down', async () => {
    const tenant = await makeTenant(pool, 'changing', { maxQueued: 5 });
    await many(tenant, 10);
    await upsertTenant(pool, tenantSchema.parse({ id: tenant, maxQueued: 12 }));
    await many(tenant, 20);
    expect(await queued(tenant)).toBe(12);
    await upsertTenant(pool, tenantSchema.parse({ id: tenant, maxQueued: 3 }));
    expect(accepted(await many(tenant, 10))).toHaveLength(0);
  });

  test('of one tenant, without a place less for another', async () => {
    const [full, other] = [
      await makeTenant(pool, 'crowded', { maxQueued: 2 }),
      await makeTenant(pool, 'roomy', { maxQueued: 20 }),
    ];
    const [, outcomes] = await Promise.all([many(full, 30), many(other, 20)]);
    expect(accepted(outcomes)).toHaveLength(20);
  });

  test('in a long queue, which is not counted for everybody who is refused', async () => {
    const tenant = await makeTenant(pool, 'long', { maxQueued: 20_000 });
    await fill(tenant, 19_990);
    expect(accepted(await many(tenant, 40))).toHaveLength(10);
    expect(await queued(tenant)).toBe(20_000);
    const { rows } = await pool.query<{ rests: boolean }>(
      `SELECT bool_and(next_count_at > clock_timestamp() - interval '1 minute') AND sum(room) = 0 AS rests
       FROM queue_room WHERE tenant_id = $1`,
      [tenant],
    );
    expect(rows[0]?.rests).toBe(true);
  });
});

test('a run that was accepted before is accepted again by a full queue', async () => {
  const tenant = await makeTenant(pool, 'again', { maxQueued: 1 });
  const request = { tenantId: tenant, definition: oneStep(), input: {}, idempotencyKey: 'order-1' };
  const first = await submitRun(pool, request);
  expect(await submit(tenant)).toMatchObject({ code: 'QUEUE_FULL' });
  expect(await submitRun(pool, request)).toEqual({ runId: first.runId, deduplicated: true });
});

describe('the retry hint', () => {
  const hint = async (tenantId: TenantId): Promise<number> => {
    const outcome = await submit(tenantId);
    if (typeof outcome === 'string') throw new Error('was accepted');
    return outcome.retryAfterMs ?? -1;
  };

  test('is a second for a queue that was filled just now', async () => {
    const tenant = await makeTenant(pool, 'fresh', { maxQueued: 2 });
    await many(tenant, 3);
    expect(await hint(tenant)).toBe(1000);
  });

  test('is as long as nothing has started, up to a minute', async () => {
    const tenant = await makeTenant(pool, 'stuck', { maxQueued: 1 });
    await fill(tenant, 1, '20 s');
    expect(await hint(tenant)).toBeGreaterThanOrEqual(20_000);
    expect(await hint(tenant)).toBeLessThan(30_000);
    const stale = await makeTenant(pool, 'stale', { maxQueued: 1 });
    await fill(stale, 1, '3 h');
    expect(await hint(stale)).toBe(60_000);
  });

  test('is what one start takes at the pace of the last minute', async () => {
    const tenant = await makeTenant(pool, 'paced', { maxQueued: 1 });
    const other = await makeTenant(pool, 'other-pace');
    await fill(tenant, 1, '10 min');
    for (const [starts, of] of [
      [12, tenant],
      [500, other],
    ] as const) {
      await pool.query(
        `WITH run AS (
           INSERT INTO workflow_runs (id, tenant_id, workflow_version_id, status, input, request_digest, timeout_ms, limits)
           SELECT gen_random_uuid(), $1, gen_random_uuid(), 'STARTING', '{}', '', 1, '{}' FROM generate_series(1, $2)
           RETURNING id)
         INSERT INTO run_attempts (run_id, number, backend) SELECT id, 1, 'test' FROM run`,
        [of, starts],
      );
    }
    expect(await hint(tenant)).toBe(5_000);
  });
});

describe('traceparent', () => {
  const good = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  const tenantId = tenantIdSchema.parse('traced');

  test('is kept with the run', async () => {
    await makeTenant(pool, 'traced');
    const runId = await queueRun(pool, 'traced', { traceparent: good });
    const { rows } = await pool.query<{ traceparent: string }>(
      'SELECT traceparent FROM workflow_runs WHERE id = $1',
      [runId],
    );
    expect(rows[0]?.traceparent).toBe(good);
  });

  test('of another submission does not make it another request', async () => {
    await makeTenant(pool, 'traced');
    const request = { tenantId, definition: oneStep(), input: {}, idempotencyKey: 'traced-1' };
    const first = await submitRun(pool, { ...request, traceparent: good });
    const again = await submitRun(pool, { ...request, traceparent: good.replace('00f0', '00f1') });
    expect(again).toEqual({ runId: first.runId, deduplicated: true });
  });

  test.each([
    '',
    'x',
    good.toUpperCase(),
    good.replace('00-', 'ff-'),
    `${good}-x`,
    good.replace(/f.*2b7/, ''),
  ])('that is none (%s) is refused', async (traceparent) => {
    await makeTenant(pool, 'traced');
    const outcome = queueRun(pool, 'traced', { traceparent });
    await expect(outcome).rejects.toMatchObject({ code: 'PAYLOAD_INVALID' });
  });
});

test('room is divided into parts that add up to it and differ by one at most', () => {
  fc.assert(
    fc.property(fc.nat(10_000_000), (room) => {
      const parts = divided(room);
      expect(parts.reduce((sum, part) => sum + part, 0)).toBe(room);
      expect(Math.max(...parts) - Math.min(...parts)).toBeLessThanOrEqual(1);
    }),
  );
});
