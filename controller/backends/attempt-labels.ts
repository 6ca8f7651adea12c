import { z } from 'zod';
import { runIdSchema, tenantIdSchema } from '../model/ids.ts';
import { LABELS } from '../model/labels.ts';
import type { TenantAttempt } from './types.ts';

const labelsSchema = z
  .object({
    [LABELS.runId]: runIdSchema,
    [LABELS.attempt]: z
      .string()
      .regex(/^[1-9][0-9]{0,5}$/)
      .transform(Number),
    [LABELS.tenantId]: tenantIdSchema,
  })
  .transform((labels) => ({
    runId: labels[LABELS.runId],
    attempt: labels[LABELS.attempt],
    tenantId: labels[LABELS.tenantId],
  }));

/** @returns which attempt the labels of a container, a Job or a pod say that it is, or undefined when they say nothing. */
export const identityOf = (labels: unknown): TenantAttempt | undefined => labelsSchema.safeParse(labels).data;
