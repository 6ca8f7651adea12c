import { setTimeout as delay } from 'node:timers/promises';
import type { Backend, Observation } from '../../controller/backends/types.ts';
import { attemptName, type AttemptRef } from '../../controller/model/ids.ts';

type Ended = Extract<Observation, { kind: 'ended' }>;

/** Listens to a backend and keeps all that it observes. */
export class Observations {
  readonly all: Observation[] = [];
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  #arrived = Promise.withResolvers<undefined>();

  constructor(backend: Pick<Backend, 'observe'>) {
    this.#done = this.#listen(backend);
  }

  /** @returns the first observation of this kind of the attempt, waiting for it at most `withinMs`. */
  async of(kind: 'ended', ref: AttemptRef, withinMs?: number): Promise<Ended>;
  async of(kind: Observation['kind'], ref: AttemptRef, withinMs?: number): Promise<Observation>;
  async of(kind: Observation['kind'], ref: AttemptRef, withinMs = 20_000): Promise<Observation> {
    const giveUp = AbortSignal.timeout(withinMs);
    for (;;) {
      const arrived = this.#arrived.promise;
      const found = this.ofAttempt(ref).find((o) => o.kind === kind);
      if (found !== undefined) return found;
      await Promise.race([
        arrived,
        delay(withinMs, undefined, { ref: false, signal: giveUp }).catch(() => undefined),
      ]);
      if (giveUp.aborted) {
        throw new Error(
          `no "${kind}" of ${attemptName(ref)} within ${withinMs} ms, only ${JSON.stringify(this.ofAttempt(ref))}`,
        );
      }
    }
  }

  /** @returns what was observed of one attempt so far. */
  ofAttempt(ref: AttemptRef): Observation[] {
    return this.all.filter((o) => o.runId === ref.runId && o.attempt === ref.attempt);
  }

  /** Stops listening. Throws what the backend's stream threw. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #listen(backend: Pick<Backend, 'observe'>): Promise<void> {
    for await (const observation of backend.observe(this.#stop.signal)) {
      this.all.push(observation);
      this.#arrived.resolve(undefined);
      this.#arrived = Promise.withResolvers();
    }
  }
}
