import { z } from 'zod';
import { WormholeError } from '../errors.ts';
import { runIdSchema, tenantIdSchema, workflowVersionIdSchema } from '../model/ids.ts';
import { LIMITS } from '../model/limits.ts';
import { traceparentSchema } from '../model/traceparent.ts';
import { INTAKE_QUEUE } from '../queue/names.ts';
import type { SubmitRequest } from './submit.ts';

/**
 * What a plain BullMQ producer adds to `workflow_runs`. Published as docs/workflow-runs-job.schema.json; docs/producers.md
 * says how it is used.
 */
export const intakePayloadSchema = z.strictObject({
  tenantId: tenantIdSchema.describe('Whose run it is.'),
  workflowVersionId: workflowVersionIdSchema.describe('A workflow version of that tenant.'),
  input: z.unknown().optional().describe("The run's input, any JSON. Unset: {}."),
  idempotencyKey: z
    .string()
    .regex(/^[!-~]{1,255}$/, 'must be 1 to 255 printable ASCII characters')
    .optional()
    .describe('The same key again, for the same request, is the same run.'),
  traceparent: traceparentSchema.optional().describe('The W3C trace context that the run is part of.'),
});

/** What a job of `workflow_runs` asks for. */
export type IntakeRequest = Extract<SubmitRequest, { workflowVersionId: unknown }>;

/**
 * Reads a job. Its id makes its delivery idempotent: as the run's id if it is a UUID, else within the idempotency key.
 * @throws {WormholeError} PAYLOAD_INVALID, naming the first key that is wrong, never its value.
 */
export function requestOf(jobId: string, data: unknown): IntakeRequest {
  const parsed = intakePayloadSchema.safeParse(data);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const where = issue?.path.join('.') || 'the payload';
    throw new WormholeError(
      'PAYLOAD_INVALID',
      `${where}: ${issue?.message ?? 'is wrong'}`.slice(0, LIMITS.logMessageBytes),
    );
  }
  const runId = runIdSchema.safeParse(jobId);
  return {
    ...parsed.data,
    input: parsed.data.input,
    ...(runId.success
      ? { runId: runId.data }
      : { idempotencyKey: parsed.data.idempotencyKey ?? `${INTAKE_QUEUE}/${jobId}` }),
  };
}
