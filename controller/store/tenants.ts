import type { RunLimits } from '../backends/types.ts';
import { WormholeError } from '../errors.ts';
import type { TenantId } from '../model/ids.ts';
import type { EgressPolicy, Tenant } from '../model/tenant.ts';
import type { Queryable } from './database.ts';

/** A tenant's declaration and how much of it is in use. */
export interface TenantUsage extends Tenant {
  /** Runs in QUEUED. */
  readonly queued: number;
  /** Runs in STARTING or RUNNING. */
  readonly running: number;
}

interface TenantRow {
  tenant_id: TenantId;
  max_concurrent: number;
  max_queued: number;
  max_timeout_ms: number;
  limits: RunLimits;
  egress: EgressPolicy;
}

const COLUMNS = 'tenant_id, max_concurrent, max_queued, max_timeout_ms, limits, egress';

const fromRow = (row: TenantRow): Tenant => ({
  id: row.tenant_id,
  maxConcurrent: row.max_concurrent,
  maxQueued: row.max_queued,
  maxTimeoutMs: row.max_timeout_ms,
  limits: row.limits,
  egress: row.egress,
});

/** Creates the tenant, or gives it these settings from now on. */
export async function upsertTenant(db: Queryable, tenant: Tenant): Promise<void> {
  await db.query(
    `INSERT INTO tenants (${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (tenant_id) DO UPDATE SET max_concurrent = excluded.max_concurrent, max_queued = excluded.max_queued,
       max_timeout_ms = excluded.max_timeout_ms, limits = excluded.limits, egress = excluded.egress, updated_at = now()`,
    [
      tenant.id,
      tenant.maxConcurrent,
      tenant.maxQueued,
      tenant.maxTimeoutMs,
      JSON.stringify(tenant.limits),
      JSON.stringify(tenant.egress),
    ],
  );
}

/** @throws {WormholeError} TENANT_NOT_FOUND. */
export async function getTenant(db: Queryable, id: TenantId): Promise<Tenant> {
  const { rows } = await db.query<TenantRow>(`SELECT ${COLUMNS} FROM tenants WHERE tenant_id = $1`, [id]);
  const row = rows[0];
  if (row === undefined) {
    throw new WormholeError(
      'TENANT_NOT_FOUND',
      `tenant "${id}" does not exist; declare it in wormhole.yaml under "tenants" and start the platform again`,
    );
  }
  return fromRow(row);
}

/** @returns all tenants by id, each with its usage. */
export async function listTenants(db: Queryable): Promise<TenantUsage[]> {
  const { rows } = await db.query<TenantRow & { queued: number; running: number }>(
    `SELECT ${COLUMNS},
       (SELECT count(*)::int FROM workflow_runs r WHERE r.tenant_id = t.tenant_id AND status = 'QUEUED') AS queued,
       (SELECT count(*)::int FROM workflow_runs r WHERE r.tenant_id = t.tenant_id AND status IN ('STARTING', 'RUNNING')) AS running
     FROM tenants t ORDER BY tenant_id`,
  );
  return rows.map((row) => ({ ...fromRow(row), queued: row.queued, running: row.running }));
}

/** @returns the tenants that have runs which have not ended, and whether some of them are QUEUED. */
export async function tenantsWithRuns(db: Queryable): Promise<Map<TenantId, { readonly queued: boolean }>> {
  const { rows } = await db.query<{ tenantId: TenantId; queued: boolean }>(
    `SELECT "tenantId", queued FROM (
       SELECT tenant_id AS "tenantId",
         EXISTS (SELECT 1 FROM workflow_runs r WHERE r.tenant_id = t.tenant_id AND r.status = 'QUEUED') AS queued,
         EXISTS (SELECT 1 FROM workflow_runs r WHERE r.tenant_id = t.tenant_id AND r.status IN ('STARTING', 'RUNNING')) AS live
       FROM tenants t
     ) AS tenant WHERE queued OR live`,
  );
  return new Map(rows.map(({ tenantId, queued }) => [tenantId, { queued }]));
}

/** Sets the global cap: runs in STARTING or RUNNING of all tenants together. */
export async function setGlobalCap(db: Queryable, maxConcurrent: number): Promise<void> {
  await db.query('UPDATE platform SET max_concurrent = $1', [maxConcurrent]);
}

/** @returns the global cap. */
export async function getGlobalCap(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ max_concurrent: number }>('SELECT max_concurrent FROM platform');
  const row = rows[0];
  if (row === undefined)
    throw new WormholeError('INTERNAL', 'table "platform" has no row; run the migrations');
  return row.max_concurrent;
}
