import type { Reason } from './reasons.ts';

/** What a backend may know about an end beyond the exit code. */
export type ExitReason = Extract<
  Reason,
  | 'DEADLINE_EXCEEDED'
  | 'IMAGE_PULL_FAILED'
  | 'UNSCHEDULABLE'
  | 'QUOTA_EXCEEDED'
  | 'ADMISSION_DENIED'
  | 'EVICTED'
  | 'NODE_LOST'
  | 'PREEMPTED'
>;

/** How a container ended, as its backend saw it. */
export interface Exit {
  /**
   * `exited`: the process ended by itself or was killed. `lost`: it vanished without telling how. `unstarted`: it was
   * never there, and never will be.
   */
  readonly kind: 'exited' | 'lost' | 'unstarted';
  readonly exitCode: number | null;
  readonly oomKilled: boolean;
  readonly at: Date;
  /** Why, where the backend was told: always present for `unstarted`. */
  readonly cause?: { readonly reason: ExitReason; readonly message: string };
}
