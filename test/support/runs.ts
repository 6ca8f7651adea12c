import type pg from 'pg';
import { submitRun, type SubmitRequest } from '../../controller/intake/submit.ts';
import { tenantIdSchema, type RunId, type TenantId } from '../../controller/model/ids.ts';
import { tenantSchema, type Tenant } from '../../controller/model/tenant.ts';
import type { WorkflowDefinitionInput } from '../../controller/model/workflow-definition.ts';
import { upsertTenant } from '../../controller/store/tenants.ts';

/** A definition with one step, which calls `endpoint`. */
export const oneStep = (endpoint = 'https://api.example.com/'): WorkflowDefinitionInput => ({
  name: 'one-step',
  steps: [{ key: 'call', action: { type: 'HTTP', method: 'GET', endpointTemplate: endpoint } }],
});

/** Declares a tenant with defaults but for what is given. */
export async function makeTenant(
  pool: pg.Pool,
  id: string,
  more: Partial<Omit<Tenant, 'id'>> = {},
): Promise<TenantId> {
  const tenant = tenantSchema.parse({ id, ...more });
  await upsertTenant(pool, tenant);
  return tenant.id;
}

/** Submits a run of {@link oneStep}. */
export async function queueRun(
  pool: pg.Pool,
  tenant: string,
  more: Partial<SubmitRequest> = {},
): Promise<RunId> {
  const tenantId = tenantIdSchema.parse(tenant);
  const { runId } = await submitRun(pool, {
    tenantId,
    definition: oneStep(),
    input: {},
    ...more,
  });
  return runId;
}
