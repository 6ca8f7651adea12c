import type pg from 'pg';
import type { TenantId, WorkflowVersionId } from '../../controller/model/ids.ts';
import { tenantSchema, type Tenant } from '../../controller/model/tenant.ts';
import { workflowDefinitionSchema } from '../../controller/model/workflow-definition.ts';
import { transaction } from '../../controller/store/database.ts';
import { upsertTenant } from '../../controller/store/tenants.ts';
import { putWorkflowVersion } from '../../controller/store/workflow-versions.ts';
import { ONE_STEP } from '../workload.ts';

/** Rows of one statement: as many producers that submit at the same time would commit them in portions. */
const PORTION = 5000;

/** Declares tenants, each with a workflow version. @returns their ids. */
export async function declareTenants(
  pool: pg.Pool,
  count: number,
  settings: Partial<Omit<Tenant, 'id'>> & { readonly prefix?: string } = {},
): Promise<TenantId[]> {
  const { prefix = 'tenant', ...more } = settings;
  const definition = workflowDefinitionSchema.parse(ONE_STEP);
  const tenants = Array.from({ length: count }, (_, index) =>
    tenantSchema.parse({ id: `${prefix}-${index}`, maxQueued: 1_000_000, ...more }),
  );
  await transaction(pool, async (db) => {
    for (const tenant of tenants) {
      await upsertTenant(db, tenant);
      await putWorkflowVersion(db, tenant.id, definition);
    }
  });
  return tenants.map(({ id }) => id);
}

/**
 * Queues runs of the tenants in turn: the rows that submitting them one by one would leave, written in bulk.
 * @param each so many of every tenant.
 */
export async function queueRuns(pool: pg.Pool, tenants: readonly TenantId[], each: number): Promise<void> {
  const rounds = Math.max(1, Math.floor(PORTION / tenants.length));
  for (let done = 0; done < each; done += rounds) {
    await pool.query(
      `INSERT INTO workflow_runs (id, tenant_id, workflow_version_id, input, timeout_ms, limits, request_digest)
       SELECT uuidv7(), v.tenant_id, v.id, '{}', 1800000, t.limits, sha256(v.digest)
       FROM generate_series(1, $2) AS round, workflow_versions v JOIN tenants t USING (tenant_id)
       WHERE v.tenant_id = ANY ($1) ORDER BY round`,
      [tenants, Math.min(rounds, each - done)],
    );
  }
  // As autovacuum would, within a minute.
  await pool.query('ANALYZE workflow_runs');
}

/** @returns how many runs are QUEUED. */
export async function countQueued(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    `SELECT count(*)::int AS count FROM workflow_runs WHERE status = 'QUEUED'`,
  );
  return rows[0]?.count ?? 0;
}

/** @returns the workflow version that {@link declareTenants} gave the tenant. */
export async function versionOf(pool: pg.Pool, tenantId: TenantId): Promise<WorkflowVersionId> {
  const { rows } = await pool.query<{ id: WorkflowVersionId }>(
    'SELECT id FROM workflow_versions WHERE tenant_id = $1',
    [tenantId],
  );
  const [version] = rows;
  if (version === undefined) throw new Error(`tenant "${tenantId}" has no workflow version`);
  return version.id;
}
