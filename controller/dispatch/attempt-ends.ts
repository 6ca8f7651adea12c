import type { Exit } from '../model/exit.ts';
import { attemptName, type AttemptRef } from '../model/ids.ts';

/** How attempts end, for those who wait: whoever starts an attempt first says that it expects its end. */
export class AttemptEnds {
  readonly #expected = new Map<string, PromiseWithResolvers<Exit>>();

  /** Resolves when the attempt's container has ended. Called again before `forget`, it is the same end. */
  async expect(ref: AttemptRef): Promise<Exit> {
    const name = attemptName(ref);
    const end = this.#expected.get(name) ?? Promise.withResolvers<Exit>();
    this.#expected.set(name, end);
    return await end.promise;
  }

  /** Tells that it ended. The first end counts; one that nobody expects does not matter. */
  ended(ref: AttemptRef, exit: Exit): void {
    this.#expected.get(attemptName(ref))?.resolve(exit);
  }

  /** The end was recorded: nobody will ask again. */
  forget(ref: AttemptRef): void {
    this.#expected.delete(attemptName(ref));
  }
}
