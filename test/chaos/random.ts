/** A seeded source of random numbers (mulberry32): the same seed gives the same ones in the same order. */
export class Random {
  #state: number;

  /** @param seed an integer. */
  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** @returns a number in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** @returns an integer from `min` to `max`, both included. */
  between(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  /** @returns true with this probability. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** @returns one of them, or undefined when there is none. */
  pick<T>(list: readonly T[]): T | undefined {
    return list[Math.floor(this.next() * list.length)];
  }

  /** @returns a copy in random order. */
  shuffled<T>(list: readonly T[]): T[] {
    const left = [...list];
    const result: T[] = [];
    while (left.length > 0) result.push(...left.splice(Math.floor(this.next() * left.length), 1));
    return result;
  }

  /** @returns a source of its own, so that how often one is asked does not change what the other gives. */
  fork(): Random {
    return new Random(Math.floor(this.next() * 2 ** 32));
  }
}
