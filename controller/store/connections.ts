import type { TenantId } from '../model/ids.ts';
import type { StoredCredentials } from '../model/connection.ts';
import type { Queryable } from './database.ts';

/** A connection as a list shows it: never its credentials. */
export interface ConnectionSummary {
  readonly key: string;
  readonly kind: StoredCredentials['kind'];
  readonly updatedAt: Date;
}

/** A connection with its credentials as they are stored: encrypted. */
export interface SealedConnection {
  readonly key: string;
  readonly sealed: Buffer;
}

/** Creates or replaces the tenant's connection. */
export async function upsertConnection(
  db: Queryable,
  tenantId: TenantId,
  connection: { readonly key: string; readonly kind: StoredCredentials['kind']; readonly sealed: Buffer },
): Promise<void> {
  await db.query(
    `INSERT INTO connections (tenant_id, key, kind, sealed) VALUES ($1, $2, $3, $4)
     ON CONFLICT (tenant_id, key) DO UPDATE SET kind = excluded.kind, sealed = excluded.sealed, updated_at = now()`,
    [tenantId, connection.key, connection.kind, connection.sealed],
  );
}

/** @returns the tenant's connections by key. */
export async function listConnections(db: Queryable, tenantId: TenantId): Promise<ConnectionSummary[]> {
  const { rows } = await db.query<ConnectionSummary>(
    'SELECT key, kind, updated_at AS "updatedAt" FROM connections WHERE tenant_id = $1 ORDER BY key',
    [tenantId],
  );
  return rows;
}

/** @returns those of the named connections that the tenant has. */
export async function findConnections(
  db: Queryable,
  tenantId: TenantId,
  keys: readonly string[],
): Promise<SealedConnection[]> {
  if (keys.length === 0) return [];
  const { rows } = await db.query<SealedConnection>(
    'SELECT key, sealed FROM connections WHERE tenant_id = $1 AND key = ANY ($2)',
    [tenantId, keys],
  );
  return rows;
}

/** @returns false when there was none. */
export async function deleteConnection(db: Queryable, tenantId: TenantId, key: string): Promise<boolean> {
  const { rowCount } = await db.query('DELETE FROM connections WHERE tenant_id = $1 AND key = $2', [
    tenantId,
    key,
  ]);
  return rowCount === 1;
}
