/** Counts what was dropped unread, and tells of it at once, but then at most once an interval. */
export class Drops {
  readonly #tell: (count: number) => void;
  readonly #intervalMs: number;
  #count = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param tell takes how many were dropped since it was told last. */
  constructor(tell: (count: number) => void, intervalMs: number) {
    this.#tell = tell;
    this.#intervalMs = intervalMs;
  }

  add(): void {
    this.#count += 1;
    if (this.#timer === undefined) this.#flush();
  }

  /** Tells of what nobody was told of yet. */
  close(): void {
    clearTimeout(this.#timer);
    if (this.#count > 0) this.#tell(this.#count);
    this.#count = 0;
  }

  #flush(): void {
    this.#timer = undefined;
    if (this.#count === 0) return;
    this.#tell(this.#count);
    this.#count = 0;
    this.#timer = setTimeout(() => this.#flush(), this.#intervalMs);
    this.#timer.unref();
  }
}
