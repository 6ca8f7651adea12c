import type { Observation } from '../types.ts';

/** Who listens to the backend: everyone hears everything, in order, at their own pace. */
export class Observers {
  readonly #open = new Set<(observation: Observation) => void>();

  tell(observation: Observation): void {
    for (const hear of this.#open) hear(observation);
  }

  /**
   * @param begin tells what is so already; called once, after which nothing that happens is missed.
   * @returns what is observed until `signal` aborts.
   */
  async *listen(
    signal: AbortSignal,
    begin: (hear: (observation: Observation) => void) => void,
  ): AsyncGenerator<Observation, void, undefined> {
    let waiting: Observation[] = [];
    let wake = Promise.withResolvers<undefined>();
    const hear = (observation: Observation): void => {
      waiting.push(observation);
      wake.resolve(undefined);
    };
    const stop = (): void => wake.resolve(undefined);
    const isOver = (): boolean => signal.aborted;
    signal.addEventListener('abort', stop, { once: true });
    this.#open.add(hear);
    try {
      begin(hear);
      while (!isOver()) {
        const heard = waiting;
        waiting = [];
        yield* heard;
        if (waiting.length > 0) continue;
        await wake.promise;
        wake = Promise.withResolvers();
      }
    } finally {
      this.#open.delete(hear);
      signal.removeEventListener('abort', stop);
    }
  }
}
