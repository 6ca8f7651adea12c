import type { Exit } from '../model/exit.ts';
import { attemptName, type AttemptRef } from '../model/ids.ts';

/** How attempts ended, for whoever waits: an end that comes before its waiter is kept until it is forgotten. */
export class AttemptEnds {
  readonly #ends = new Map<string, PromiseWithResolvers<Exit>>();

  /** Resolves when the attempt's container has ended. */
  async of(ref: AttemptRef): Promise<Exit> {
    return await this.#entry(ref).promise;
  }

  /** Tells that it ended. The first end counts. */
  ended(ref: AttemptRef, exit: Exit): void {
    this.#entry(ref).resolve(exit);
  }

  /** The end was recorded: nobody will ask again. */
  forget(ref: AttemptRef): void {
    this.#ends.delete(attemptName(ref));
  }

  #entry(ref: AttemptRef): PromiseWithResolvers<Exit> {
    const name = attemptName(ref);
    const entry = this.#ends.get(name) ?? Promise.withResolvers<Exit>();
    this.#ends.set(name, entry);
    return entry;
  }
}
