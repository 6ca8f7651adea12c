import type { BackendAttempt } from '../backends/types.ts';
import { attemptName, type AttemptRef } from '../model/ids.ts';

/** Where the record and the backend disagree, of what has had its time to agree. */
export interface Drift {
  /** Slots whose container is not there, or has ended. */
  readonly slotsWithoutContainer: number;
  /** Live containers that no slot belongs to. */
  readonly containersWithoutSlot: number;
}

/** So long a slot may be ahead of its container, or behind it: an attempt is admitted, then started; it ends, then is recorded. */
const SETTLE_MS = 30_000;

/**
 * Compares slots with live containers, attempt by attempt, so that one too many does not hide one too few. A difference
 * counts once the same attempt has differed for {@link SETTLE_MS}.
 */
export class SlotDrift {
  readonly #nowMs: () => number;
  /** Since when an attempt differs. */
  #unbacked: ReadonlyMap<string, number> = new Map();
  #unowned: ReadonlyMap<string, number> = new Map();

  /** @param nowMs a clock that only grows. */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** @param containers what the backend listed before `slots` were read. */
  compare(slots: readonly AttemptRef[], containers: readonly BackendAttempt[]): Drift {
    const nowMs = this.#nowMs();
    const held = new Set(slots.map(attemptName));
    const live = new Set(containers.filter(({ state }) => state !== 'ended').map(attemptName));
    this.#unbacked = lasting(held, live, this.#unbacked, nowMs);
    this.#unowned = lasting(live, held, this.#unowned, nowMs);
    return {
      slotsWithoutContainer: settled(this.#unbacked, nowMs),
      containersWithoutSlot: settled(this.#unowned, nowMs),
    };
  }
}

/** @returns since when each of `names` that is not in `others` has been missing there. */
const lasting = (
  names: ReadonlySet<string>,
  others: ReadonlySet<string>,
  before: ReadonlyMap<string, number>,
  nowMs: number,
): ReadonlyMap<string, number> =>
  new Map([...names].filter((name) => !others.has(name)).map((name) => [name, before.get(name) ?? nowMs]));

const settled = (since: ReadonlyMap<string, number>, nowMs: number): number =>
  [...since.values()].filter((sinceMs) => nowMs - sinceMs >= SETTLE_MS).length;
