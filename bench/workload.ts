import { DEMO_HOST, DEMO_PORT } from '../controller/demo/service.ts';
import { tenantSchema, type Tenant } from '../controller/model/tenant.ts';
import type { WorkflowDefinitionInput } from '../controller/model/workflow-definition.ts';

/** The one request that everything measured makes. */
export const URL_OF_CALL = `http://${DEMO_HOST}/flaky?failures=0`;

/** A workflow of one step. */
export const ONE_STEP: WorkflowDefinitionInput = {
  name: 'one call',
  steps: [{ key: 'call', action: { type: 'HTTP', method: 'GET', endpointTemplate: URL_OF_CALL } }],
};

/** Runs of all tenants together that may be alive at once: below the sum of what the tenants may have. */
export const GLOBAL_CAP = 6;

const limits = { cpus: 1, memoryMb: 128, pids: 64, tmpMb: 16 };
const egress = { mode: 'allowlist', allow: [{ host: DEMO_HOST, ports: [DEMO_PORT] }] };

/** The tenant of the runs that are measured one by one. */
export const LONE_TENANT: Tenant = tenantSchema.parse({ id: 'lone', maxConcurrent: 1, limits, egress });

const CROWD_CAPS = [1, 2, 3, 1, 2, 3, 1, 2, 3, 1];

/** The ten tenants that submit at the same time. */
export const CROWD_TENANTS: readonly Tenant[] = CROWD_CAPS.map((maxConcurrent, index) =>
  tenantSchema.parse({ id: `crowd-${index}`, maxConcurrent, limits, egress }),
);
