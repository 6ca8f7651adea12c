/** How long nothing is started after the first refusal; twice as long after each that follows without a success. */
const FIRST_HOLD_MS = 250;
const LONGEST_HOLD_MS = 30_000;

/**
 * Back-pressure by whoever starts containers: how many attempts may be on their way (admitted, but not claimed yet). Open
 * until a start is refused; then it is halved, and nothing is started for a while; every attempt that is claimed
 * makes room for one more, so it doubles as often as attempts take to start (additive increase by claim,
 * multiplicative decrease, as in congestion control).
 */
export class Pressure {
  #window = Infinity;
  #holdMs = 0;
  #heldUntilMs = -Infinity;
  /** Attempts that were admitted before say nothing of the window that holds since. */
  #cutAtMs = -Infinity;

  /** How many attempts may be on their way; infinite while nobody refuses. */
  get window(): number {
    return this.#window;
  }

  /** @returns whether there is any. */
  get isOn(): boolean {
    return this.#window !== Infinity;
  }

  /**
   * @param onTheirWay how many attempts are.
   * @returns how long until another one may be started, in ms; 0: now; infinite: not before one of them is claimed or ends.
   */
  waitMs(onTheirWay: number, nowMs: number): number {
    return onTheirWay < this.#window ? this.heldMs(nowMs) : Infinity;
  }

  /** @returns how long nothing may be started, in ms. */
  heldMs(nowMs: number): number {
    return Math.max(0, this.#heldUntilMs - nowMs);
  }

  /**
   * A start was refused.
   * @param onTheirWay how many attempts are, this one included.
   * @param admittedAtMs when this one was admitted: refusals of one wave count once.
   * @param retryAfterMs what whoever refused it asks for.
   */
  refused(onTheirWay: number, admittedAtMs: number, nowMs: number, retryAfterMs = 0): void {
    this.#heldUntilMs = Math.max(this.#heldUntilMs, nowMs + retryAfterMs);
    if (admittedAtMs < this.#cutAtMs) return;
    this.#cutAtMs = nowMs;
    this.#window = Math.max(1, Math.floor(Math.min(this.#window, onTheirWay) / 2));
    this.#holdMs = Math.min(LONGEST_HOLD_MS, Math.max(FIRST_HOLD_MS, this.#holdMs * 2));
    this.#heldUntilMs = Math.max(this.#heldUntilMs, nowMs + this.#holdMs);
  }

  /** An attempt was claimed. @param cap how many there may be at all: beyond, there is no pressure any more. */
  succeeded(admittedAtMs: number, cap: number): void {
    if (!this.isOn || admittedAtMs < this.#cutAtMs) return;
    this.#window += 1;
    this.#holdMs = 0;
    if (this.#window > cap) this.#window = Infinity;
  }
}
