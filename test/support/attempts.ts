import { randomUUID } from 'node:crypto';
import type { AttemptSpec } from '../../controller/backends/types.ts';
import { newRunId, newWorkflowVersionId, tenantIdSchema } from '../../controller/model/ids.ts';

/** @returns the spec of a first attempt at a new run: small, a minute to its deadline. */
export const newAttempt = (overrides: Partial<AttemptSpec> = {}): AttemptSpec => ({
  runId: newRunId(),
  attempt: 1,
  tenantId: tenantIdSchema.parse('acme'),
  workflowVersionId: newWorkflowVersionId(),
  limits: { cpus: 1, memoryMb: 64, pids: 32, tmpMb: 8 },
  deadlineInMs: 60_000,
  claimToken: randomUUID(),
  ...overrides,
});

/** @returns a platform instance name that no other test has. */
export const newInstance = (): string => `t${randomUUID().slice(0, 8)}`;
