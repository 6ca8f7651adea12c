/** The producer library: `import { connectClient } from 'wormhole-isolation'`. docs/producers.md shows how it is used. */
export { Client, connectClient, type ClientOptions } from './client.ts';
export { ERROR_CODES, WormholeError, type ErrorCode } from './errors.ts';
export type { DeadLetter } from './intake/dead-letters.ts';
export type { SubmitOptions } from './intake/door.ts';
export { intakePayloadSchema } from './intake/intake-payload.ts';
export { QueueFullError, type Submitted, type SubmitRequest } from './intake/submit.ts';
export type { StoredCredentials } from './model/connection.ts';
export {
  runIdSchema,
  tenantIdSchema,
  workflowVersionIdSchema,
  type RunId,
  type TenantId,
  type WorkflowVersionId,
} from './model/ids.ts';
export type { Json } from './model/json.ts';
export { REASONS, type Reason } from './model/reasons.ts';
export { isTerminal, type RunStatus, type StepStatus, type TerminalStatus } from './model/run-status.ts';
export { tenantSchema, type Tenant } from './model/tenant.ts';
export type { WorkflowDefinition, WorkflowDefinitionInput } from './model/workflow-definition.ts';
export { DEAD_LETTER_QUEUE, INTAKE_QUEUE } from './queue/names.ts';
export type { ConnectionSummary } from './store/connections.ts';
export type { Declared, DeclaredChanges, SettingChange } from './store/declared-changes.ts';
export type { LogEntry, LogPage } from './store/logs/types.ts';
export type { RunChange } from './store/notifications.ts';
export type { RunAttempt, RunDetail, RunSummary, StepRun } from './store/runs.ts';
export type { TenantUsage } from './store/tenants.ts';
