import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';

/** A run's id: a UUIDv7, so ids sort by creation time. Also the id of its BullMQ job. */
export const runIdSchema = z.uuid().brand<'RunId'>();
export type RunId = z.infer<typeof runIdSchema>;

/** A workflow version's id: a UUIDv7. */
export const workflowVersionIdSchema = z.uuid().brand<'WorkflowVersionId'>();
export type WorkflowVersionId = z.infer<typeof workflowVersionIdSchema>;

/**
 * A tenant's id: a DNS label of at most 50 characters, because it becomes part of namespace names, label
 * values and queue names (RFC 1123; 63 characters less the prefixes).
 */
export const tenantIdSchema = z
  .string()
  .regex(
    /^[a-z0-9](?:[-a-z0-9]{0,48}[a-z0-9])?$/,
    'must be 1 to 50 lower-case letters, digits or "-", starting and ending with a letter or digit',
  )
  .brand<'TenantId'>();
export type TenantId = z.infer<typeof tenantIdSchema>;

/** @returns a new run id. */
export const newRunId = (): RunId => uuidv7() as RunId;

/** @returns a new workflow version id. */
export const newWorkflowVersionId = (): WorkflowVersionId => uuidv7() as WorkflowVersionId;

/** One attempt at a run: what a container, a claim and a report belong to. Attempts count from 1. */
export interface AttemptRef {
  readonly runId: RunId;
  readonly attempt: number;
}

/** @returns `<run id>-<attempt>`, the name that backends give to what they create for the attempt. */
export const attemptName = (ref: AttemptRef): string => `${ref.runId}-${ref.attempt}`;

/** @returns the attempt of a name that {@link attemptName} gave, or undefined for any other. */
export function parseAttemptName(name: string): AttemptRef | undefined {
  const [, id, attempt] = /^([-0-9a-f]{36})-([1-9]\d{0,5})$/.exec(name) ?? [];
  const runId = runIdSchema.safeParse(id);
  return runId.success ? { runId: runId.data, attempt: Number(attempt) } : undefined;
}
