import type { RunLimits } from '../backends/types.ts';
import { WormholeError } from '../errors.ts';
import type { TenantId } from '../model/ids.ts';
import type { EgressPolicy, Priority, StartRate, Tenant } from '../model/tenant.ts';
import type { Queryable } from './database.ts';

/** A tenant's declaration and how much of it is in use. */
export interface TenantUsage extends StoredTenant {
  /** Runs in QUEUED. */
  readonly queued: number;
  /** Runs in STARTING or RUNNING. */
  readonly running: number;
}

export interface TenantRow {
  tenant_id: TenantId;
  max_concurrent: number;
  max_queued: number;
  when_full: Tenant['whenFull'];
  weight: number;
  priority: Priority;
  start_rate: StartRate | null;
  max_timeout_ms: number;
  limits: RunLimits;
  egress: EgressPolicy;
  paused_at: Date | null;
}

const SETTINGS = [
  'tenant_id',
  'max_concurrent',
  'max_queued',
  'when_full',
  'weight',
  'priority',
  'start_rate',
  'max_timeout_ms',
  'limits',
  'egress',
] as const;
const COLUMNS = [...SETTINGS, 'paused_at'].join(', ');

/** A declared tenant, and whether an operator has paused it: no run of a paused tenant is started. */
export interface StoredTenant extends Tenant {
  readonly pausedAt: Date | null;
}

const declaredFrom = (row: TenantRow): Tenant => ({
  id: row.tenant_id,
  maxConcurrent: row.max_concurrent,
  maxQueued: row.max_queued,
  whenFull: row.when_full,
  weight: row.weight,
  priority: row.priority,
  ...(row.start_rate !== null && { startRate: row.start_rate }),
  maxTimeoutMs: row.max_timeout_ms,
  limits: row.limits,
  egress: row.egress,
});

const fromRow = (row: TenantRow): StoredTenant => ({ ...declaredFrom(row), pausedAt: row.paused_at });

/** Creates the tenant, or gives it these settings from now on. It stays paused if it is. */
export async function upsertTenant(db: Queryable, tenant: Tenant): Promise<void> {
  const [key, ...settings] = SETTINGS;
  const changes = settings.map((column) => `${column} = excluded.${column}`).join(', ');
  await db.query(
    `INSERT INTO tenants (${SETTINGS.join(', ')}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
     ON CONFLICT (${key}) DO UPDATE SET ${changes}, updated_at = now()`,
    [
      tenant.id,
      tenant.maxConcurrent,
      tenant.maxQueued,
      tenant.whenFull,
      tenant.weight,
      tenant.priority,
      tenant.startRate === undefined ? null : JSON.stringify(tenant.startRate),
      tenant.maxTimeoutMs,
      JSON.stringify(tenant.limits),
      JSON.stringify(tenant.egress),
    ],
  );
}

/**
 * Stops or resumes the start of the tenant's runs; live ones go on, new ones are queued.
 * @throws {WormholeError} TENANT_NOT_FOUND.
 */
export async function setPaused(db: Queryable, id: TenantId, paused: boolean): Promise<void> {
  const { rowCount } = await db.query(
    `UPDATE tenants SET paused_at = CASE WHEN $2 THEN coalesce(paused_at, clock_timestamp()) END
     WHERE tenant_id = $1`,
    [id, paused],
  );
  if (rowCount !== 1) throw unknownTenant(id);
}

const unknownTenant = (id: TenantId): WormholeError =>
  new WormholeError(
    'TENANT_NOT_FOUND',
    `tenant "${id}" does not exist; declare it in wormhole.yaml under "tenants" and run "wormhole tenants apply"`,
  );

/** @throws {WormholeError} TENANT_NOT_FOUND. */
export async function getTenant(db: Queryable, id: TenantId): Promise<StoredTenant> {
  const { rows } = await db.query<TenantRow>(`SELECT ${COLUMNS} FROM tenants WHERE tenant_id = $1`, [id]);
  const row = rows[0];
  if (row === undefined) throw unknownTenant(id);
  return fromRow(row);
}

/** @returns all tenants as they were declared, by id. */
export async function declaredTenants(db: Queryable): Promise<Tenant[]> {
  const { rows } = await db.query<TenantRow>(`SELECT ${COLUMNS} FROM tenants ORDER BY tenant_id`);
  return rows.map(declaredFrom);
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

/** What holds for all tenants together. */
export interface PlatformLimits {
  /** Runs in STARTING or RUNNING. */
  readonly maxConcurrent: number;
  readonly startRate: StartRate | undefined;
}

/** Sets what holds for all tenants together, from now on. */
export async function setPlatformLimits(db: Queryable, limits: PlatformLimits): Promise<void> {
  await db.query('UPDATE platform SET max_concurrent = $1, start_rate = $2', [
    limits.maxConcurrent,
    limits.startRate === undefined ? null : JSON.stringify(limits.startRate),
  ]);
}

/** @returns what holds for all tenants together. */
export async function getPlatformLimits(db: Queryable): Promise<PlatformLimits> {
  const { rows } = await db.query<{ max_concurrent: number; start_rate: StartRate | null }>(
    'SELECT max_concurrent, start_rate FROM platform',
  );
  const row = rows[0];
  if (row === undefined)
    throw new WormholeError('INTERNAL', 'table "platform" has no row; run the migrations');
  return { maxConcurrent: row.max_concurrent, startRate: row.start_rate ?? undefined };
}
