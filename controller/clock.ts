import { setTimeout as delay } from 'node:timers/promises';

/** Time as dispatch sees it, so that it can be simulated. It never compares two machines' clocks. */
export interface Clock {
  /** Milliseconds that only grow. Their zero means nothing. */
  readonly nowMs: () => number;
  /** The machine's date, for comparison with what the same machine dated. */
  readonly date: () => Date;
  /**
   * Does `work` once after `delayMs`: at once when that is past, never when it is infinite.
   * @returns what calls it off.
   */
  readonly after: (delayMs: number, work: () => void) => () => void;
  /** Does `work` every `periodMs`. @returns what ends it. */
  readonly every: (periodMs: number, work: () => void) => () => void;
  /** Resolves after `delayMs`. @throws the signal's reason when it aborts first. */
  readonly sleep: (delayMs: number, signal?: AbortSignal) => Promise<void>;
}

/** Node's timers hold at most this many milliseconds (2^31 - 1). */
const LONGEST_TIMER_MS = 2_147_483_647;

/** The machine's own monotonic clock. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  date: () => new Date(),
  after: (delayMs, work) => {
    if (delayMs === Infinity) return () => undefined;
    const timer = setTimeout(work, Math.min(Math.max(0, delayMs), LONGEST_TIMER_MS));
    return () => clearTimeout(timer);
  },
  every: (periodMs, work) => {
    const timer = setInterval(work, periodMs);
    return () => clearInterval(timer);
  },
  sleep: async (delayMs, signal) => {
    try {
      await delay(delayMs, undefined, { ...(signal && { signal }) });
    } catch (error) {
      throw signal?.aborted === true ? signal.reason : error;
    }
  },
};
