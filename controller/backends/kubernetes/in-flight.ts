/** Lets so much work go on at a time; the rest waits for its turn, in order. */
export class InFlight {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  /** @param limit from 1. */
  constructor(limit: number) {
    this.#free = limit;
  }

  /** @returns what `work` gives, once it had its turn. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
