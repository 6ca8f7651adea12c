import { createHash } from 'node:crypto';
import { newWorkflowVersionId, type TenantId, type WorkflowVersionId } from '../model/ids.ts';
import type { WorkflowDefinition } from '../model/workflow-definition.ts';
import type { Queryable } from './database.ts';

/** A definition that runs can name; it never changes. */
export interface WorkflowVersion {
  readonly id: WorkflowVersionId;
  readonly tenantId: TenantId;
  readonly name: string;
  /** Counts from 1 for each name of the tenant. */
  readonly version: number;
  readonly definition: WorkflowDefinition;
}

interface VersionRow {
  id: WorkflowVersionId;
  tenant_id: TenantId;
  name: string;
  version: number;
  definition: WorkflowDefinition;
}

const fromRow = (row: VersionRow): WorkflowVersion => ({
  id: row.id,
  tenantId: row.tenant_id,
  name: row.name,
  version: row.version,
  definition: row.definition,
});

/** Stores the definition as the tenant's next version of that name; the same definition again is the same version. */
export async function putWorkflowVersion(
  db: Queryable,
  tenantId: TenantId,
  definition: WorkflowDefinition,
): Promise<WorkflowVersion> {
  const text = JSON.stringify(definition);
  const digest = createHash('sha256').update(text).digest();
  const existing = await db.query<VersionRow>(
    'SELECT * FROM workflow_versions WHERE tenant_id = $1 AND digest = $2',
    [tenantId, digest],
  );
  if (existing.rows[0] !== undefined) return fromRow(existing.rows[0]);
  // Two submitters of one tenant must not take the same number.
  await db.query(`SELECT pg_advisory_xact_lock(hashtextextended('workflow_versions/' || $1, 0))`, [tenantId]);
  const { rows } = await db.query<VersionRow>(
    `INSERT INTO workflow_versions (id, tenant_id, name, version, definition, digest)
     SELECT $1, $2, $3, coalesce(max(version), 0) + 1, $4, $5 FROM workflow_versions WHERE tenant_id = $2 AND name = $3
     ON CONFLICT (tenant_id, digest) DO UPDATE SET digest = excluded.digest
     RETURNING *`,
    [newWorkflowVersionId(), tenantId, definition.name, text, digest],
  );
  return fromRow(rows[0] as VersionRow);
}

/** @returns the tenant's version with that id, or undefined: another tenant's is as good as none. */
export async function findWorkflowVersion(
  db: Queryable,
  tenantId: TenantId,
  id: WorkflowVersionId,
): Promise<WorkflowVersion | undefined> {
  const { rows } = await db.query<VersionRow>(
    'SELECT * FROM workflow_versions WHERE tenant_id = $1 AND id = $2',
    [tenantId, id],
  );
  return rows[0] === undefined ? undefined : fromRow(rows[0]);
}
