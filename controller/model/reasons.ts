/**
 * Why a run ended as it did: a closed list, each documented in docs/reasons.md.
 * SUCCESS has no reason; every other terminal status has exactly one.
 */
export const REASONS = [
  'STEP_FAILED',
  'INPUT_INVALID',
  'WORKFLOW_NOT_FOUND',
  'DEADLINE_EXCEEDED',
  'CANCELED',
  'OOM_KILLED',
  'IMAGE_PULL_FAILED',
  'UNSCHEDULABLE',
  'QUOTA_EXCEEDED',
  'ADMISSION_DENIED',
  'EVICTED',
  'NODE_LOST',
  'PREEMPTED',
  'RUNNER_CRASHED',
  'RUNNER_LOST',
  'CLAIM_TIMEOUT',
  'RETRIES_EXHAUSTED',
] as const;
export type Reason = (typeof REASONS)[number];
