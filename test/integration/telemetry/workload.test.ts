import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { Metrics } from '../../../controller/telemetry/metrics.ts';
import { WorkloadMetrics } from '../../../controller/telemetry/workload-metrics.ts';
import { readWorkload } from '../../../controller/telemetry/workload.ts';
import { cloneDatabase } from '../../support/database.ts';
import { makeTenant } from '../../support/runs.ts';
import { insertQueued, samplesOf } from '../../support/telemetry.ts';

const { pool } = await cloneDatabase();

function follow(labelledTenants: number, db: pg.Pool = pool): Metrics {
  const metrics = new Metrics({ labelledTenants });
  onTestFinished(new WorkloadMetrics(metrics).follow(db));
  return metrics;
}

async function makeLive(tenantId: string, status: 'STARTING' | 'RUNNING', runs: number): Promise<void> {
  const ids = await insertQueued(pool, tenantId, runs);
  await pool.query('UPDATE workflow_runs SET status = $2 WHERE id = ANY ($1)', [ids, status]);
}

test('queue, age, slots and caps are those of the record, of tenants with work', async () => {
  await pool.query('UPDATE platform SET max_concurrent = 70');
  await makeTenant(pool, 'busy', { maxConcurrent: 7, maxQueued: 11 });
  await makeTenant(pool, 'waiting', { maxConcurrent: 2, maxQueued: 12 });
  await makeTenant(pool, 'idle');
  await insertQueued(pool, 'busy', 1, 120);
  await insertQueued(pool, 'busy', 2, 60);
  await makeLive('busy', 'STARTING', 2);
  await makeLive('busy', 'RUNNING', 3);
  await insertQueued(pool, 'waiting', 4);
  await pool.query("UPDATE tenants SET paused_at = now() WHERE tenant_id = 'waiting'");
  const samples = await samplesOf(follow(10));

  expect(samples.get('wormhole_store_readable')).toBe(1);
  expect(samples.get('wormhole_platform_slots_max')).toBe(70);
  const of = (tenant: string, name: string) => samples.get(`${name}{tenant="${tenant}"}`);
  expect(of('busy', 'wormhole_runs_queued')).toBe(3);
  expect(of('busy', 'wormhole_runs_queued_max')).toBe(11);
  expect(of('busy', 'wormhole_runs_starting')).toBe(2);
  expect(of('busy', 'wormhole_runs_running')).toBe(3);
  expect(of('busy', 'wormhole_tenant_slots_max')).toBe(7);
  expect(of('busy', 'wormhole_tenant_paused')).toBe(0);
  expect(of('busy', 'wormhole_runs_queued_oldest_age_seconds')).toBeGreaterThanOrEqual(120);
  expect(of('busy', 'wormhole_runs_queued_oldest_age_seconds')).toBeLessThan(150);
  expect(of('waiting', 'wormhole_tenant_paused')).toBe(1);
  expect(of('waiting', 'wormhole_runs_queued_oldest_age_seconds')).toBeLessThan(30);
  expect([...samples.keys()].filter((name) => name.includes('idle'))).toEqual([]);
});

test('tenants beyond those that have a label are told as one', async () => {
  const samples = await samplesOf(follow(1));
  const of = (name: string) => samples.get(`${name}{tenant="_other"}`);
  expect(samples.get('wormhole_runs_queued{tenant="busy"}')).toBe(3);
  expect(of('wormhole_runs_queued')).toBe(4);
  expect(of('wormhole_tenant_slots_max')).toBe(2);
  expect(of('wormhole_tenant_paused')).toBe(1);
  const tenants = [...samples.keys()].filter((name) => name.startsWith('wormhole_runs_queued{'));
  expect(tenants).toHaveLength(2);

  const none = await samplesOf(follow(0));
  expect(none.get('wormhole_runs_queued{tenant="_other"}')).toBe(7);
});

test('what was known is not told when PostgreSQL does not answer', async () => {
  const gone = new pg.Pool({ host: '127.0.0.1', port: 1, max: 1 });
  onTestFinished(() => gone.end());
  const samples = await samplesOf(follow(10, gone));
  expect(samples.get('wormhole_store_readable')).toBe(0);
  expect([...samples.keys()].filter((name) => /^wormhole_(?:runs_|tenant_|platform_)/.test(name))).toEqual(
    [],
  );
});

test('a tenant whose work is done is told of no more', async () => {
  const metrics = follow(10);
  await samplesOf(metrics);
  await pool.query(
    `UPDATE workflow_runs SET status = 'CANCELED', reason = 'CANCELED', finished_at = now() WHERE tenant_id = 'waiting'`,
  );
  expect((await samplesOf(metrics)).has('wormhole_runs_queued{tenant="waiting"}')).toBe(false);
});

test('a reading looks only at queued and live runs, through their indexes, however many have ended', async () => {
  const TENANTS = 200;
  await pool.query('ALTER TABLE workflow_runs DISABLE TRIGGER USER');
  await pool.query(
    `INSERT INTO tenants (tenant_id, max_concurrent, max_queued, max_timeout_ms, limits, egress)
     SELECT 'many-' || n, 4, 1000, 1000, '{}', '{}' FROM generate_series(1, ${TENANTS}) AS n`,
  );
  const insert = (runs: number, status: string): Promise<unknown> =>
    pool.query(
      `INSERT INTO workflow_runs (id, tenant_id, workflow_version_id, input, request_digest, timeout_ms, limits, status, finished_at)
       SELECT gen_random_uuid(), 'many-' || (n % ${TENANTS} + 1), gen_random_uuid(), 'null', '', 1, '{}', $2::text,
         CASE WHEN $2::text = 'SUCCESS' THEN now() END
       FROM generate_series(1, $1::int) AS n`,
      [runs, status],
    );
  await insert(20_000, 'SUCCESS');
  await insert(20_000, 'QUEUED');
  await pool.query('VACUUM ANALYZE workflow_runs');

  const { rows } = await pool.query<{ 'QUERY PLAN': string }>(
    `EXPLAIN ${await statementOf(() => readWorkload(pool, 1000))}`,
  );
  const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
  expect(plan).not.toMatch(/Seq Scan on workflow_runs/);
  expect(plan).toMatch(/Index Only Scan using workflow_runs_queued/);
  expect((await readWorkload(pool, 1000)).tenants.filter(({ queued }) => queued === 100)).toHaveLength(
    TENANTS,
  );
});

/** @returns the longest statement that `work` sends. */
async function statementOf(work: () => Promise<unknown>): Promise<string> {
  const sent: string[] = [];
  const query = pool.query.bind(pool);
  pool.query = ((text: string, values?: unknown[]) => {
    sent.push(text);
    return query(text, values);
  }) as typeof pool.query;
  try {
    await work();
  } finally {
    pool.query = query;
  }
  return sent.toSorted((one, other) => other.length - one.length)[0]!;
}
