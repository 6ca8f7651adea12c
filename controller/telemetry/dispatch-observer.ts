import type { BackendAttempt } from '../backends/types.ts';
import type { AttemptRef, TenantId } from '../model/ids.ts';
import type { Reason } from '../model/reasons.ts';

/** How refused starts hold somebody back. */
export interface PressureReading {
  /** How many attempts may be on their way at once; infinite while nobody refuses. */
  readonly window: number;
  /** How long nothing is started, from now. */
  readonly heldMs: number;
}

/** Who is held back by refused starts: everybody together, and tenants by themselves, of which only those that are. */
export interface PressureReadings {
  readonly platform: PressureReading;
  readonly tenants: readonly (PressureReading & { readonly tenantId: TenantId })[];
}

/**
 * What dispatch tells of itself while it leads. Every call is cheap, does no I/O and never throws; nothing that
 * dispatch decides depends on it.
 */
export interface DispatchObserver {
  /** Some runs went from QUEUED to STARTING in one round. @param sinceWokenMs since dispatch was woken for it, in ms. */
  admitted(runs: number, sinceWokenMs: number): void;

  /** An attempt was not started, not yet answered, or ended before its claim, for this reason. */
  refused(reason: Reason): void;

  /**
   * The record and the backend were compared.
   * @param slots all attempts whose run is STARTING or RUNNING.
   * @param containers all that the backend lists, listed before the slots were read.
   */
  compared(slots: readonly AttemptRef[], containers: readonly BackendAttempt[]): void;

  /** Says how to find out who is held back now; asked whenever the metrics are read. */
  pressure(read: () => PressureReadings): void;
}

/** For a controller that nobody observes. */
export const UNOBSERVED: DispatchObserver = {
  admitted: () => undefined,
  refused: () => undefined,
  compared: () => undefined,
  pressure: () => undefined,
};
