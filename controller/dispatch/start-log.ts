import type { StartRate } from '../model/tenant.ts';

/** When attempts were started, as far back as a start rate asks: at most `max` within any `durationMs`. */
export class StartLog {
  /** Oldest first. */
  #startedAtMs: number[] = [];

  /** @returns how long until the rate allows another start, in ms; 0: now. */
  waitMs(rate: StartRate | undefined, nowMs: number): number {
    if (rate === undefined) return 0;
    this.#forget(nowMs - rate.durationMs);
    const decisive = this.#startedAtMs[this.#startedAtMs.length - rate.max];
    return decisive === undefined ? 0 : Math.max(0, decisive + rate.durationMs - nowMs);
  }

  started(atMs: number): void {
    this.#startedAtMs.push(atMs);
  }

  #forget(untilMs: number): void {
    const kept = this.#startedAtMs.findIndex((at) => at > untilMs);
    if (kept !== 0) this.#startedAtMs = kept < 0 ? [] : this.#startedAtMs.slice(kept);
  }
}
