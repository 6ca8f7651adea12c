import type { AttemptRef } from '../../model/ids.ts';
import { LABELS, MANAGED_BY } from '../../model/labels.ts';

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
