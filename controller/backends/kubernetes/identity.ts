import { z } from 'zod';
import { runIdSchema, tenantIdSchema, type AttemptRef } from '../../model/ids.ts';
import { LABELS, MANAGED_BY } from '../../model/labels.ts';
import type { TenantAttempt } from '../types.ts';

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

/** @returns which attempt the labels of a Job or a pod say that it is, or undefined when they say nothing. */
export const attemptOf = (labels: Readonly<Record<string, string>>): TenantAttempt | undefined =>
  labelsSchema.safeParse(labels).data;

/** @returns the label selector of everything of one component of an instance. */
export const selector = (instance: string, component: 'run' | 'tenant'): string =>
  `${LABELS.managedBy}=${MANAGED_BY},${LABELS.component}=${component},${LABELS.instance}=${instance}`;

/** @returns the labels by which an attempt's Job is recognised. */
export const identityLabels = (instance: string, ref: AttemptRef): Readonly<Record<string, string>> => ({
  [LABELS.managedBy]: MANAGED_BY,
  [LABELS.component]: 'run',
  [LABELS.instance]: instance,
  [LABELS.runId]: ref.runId,
  [LABELS.attempt]: String(ref.attempt),
});
