/** Where a run is. `QUEUED → STARTING → RUNNING → terminal`; STARTING goes back to QUEUED for a new attempt. */
export const RUN_STATUSES = [
  'QUEUED',
  'STARTING',
  'RUNNING',
  'SUCCESS',
  'FAILED',
  'TIMEOUT',
  'CANCELED',
] as const;
export type RunStatus = (typeof RUN_STATUSES)[number];

export const TERMINAL_STATUSES = ['SUCCESS', 'FAILED', 'TIMEOUT', 'CANCELED'] as const;
export type TerminalStatus = (typeof TERMINAL_STATUSES)[number];

/** Where a step run is. SKIPPED: its `when` did not hold, or the run ended before it. */
export const STEP_STATUSES = ['RUNNING', 'SUCCESS', 'FAILED', 'SKIPPED', 'TIMEOUT', 'CANCELED'] as const;
export type StepStatus = (typeof STEP_STATUSES)[number];

const TRANSITIONS: Readonly<Record<RunStatus, readonly RunStatus[]>> = {
  QUEUED: ['STARTING', 'FAILED', 'TIMEOUT', 'CANCELED'],
  STARTING: ['RUNNING', 'QUEUED', 'FAILED', 'TIMEOUT', 'CANCELED'],
  RUNNING: ['QUEUED', 'SUCCESS', 'FAILED', 'TIMEOUT', 'CANCELED'],
  SUCCESS: [],
  FAILED: [],
  TIMEOUT: [],
  CANCELED: [],
};

/** @returns the statuses from which `to` may be entered. */
export const statusesBefore = (to: RunStatus): RunStatus[] =>
  RUN_STATUSES.filter((from) => TRANSITIONS[from].includes(to));

/** @returns whether a run in `status` has ended. */
export const isTerminal = (status: RunStatus): status is TerminalStatus => TRANSITIONS[status].length === 0;
