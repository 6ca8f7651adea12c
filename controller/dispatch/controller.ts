import type { Logger } from 'pino';
import type { Backend } from '../backends/types.ts';
import { systemClock, type Clock } from '../clock.ts';
import { messageOf } from '../errors.ts';
import type { AttemptPolicy } from '../model/verdict.ts';
import type { RunChanges } from '../store/notifications.ts';
import { UNOBSERVED, type DispatchObserver } from '../telemetry/dispatch-observer.ts';
import { AttemptEnds } from './attempt-ends.ts';
import { Dispatcher } from './dispatcher.ts';
import { Reconciler } from './reconciler.ts';
import type { DispatchStore } from './store.ts';
import { Supervisor, type AttemptEnd } from './supervisor.ts';

export interface ControllerOptions {
  readonly store: DispatchStore;
  readonly changes: RunChanges;
  readonly backend: Backend;
  readonly policy: AttemptPolicy;
  /** A container that has not claimed its payload this long after its admission is given up. */
  readonly claimTimeoutMs: number;
  readonly log: Logger;
  /** @default - nobody */
  readonly observer?: DispatchObserver;
  /** Told of every attempt whose end was recorded. It does not throw. @default - nobody */
  readonly onEnd?: (attempt: AttemptEnd) => void;
  /** @default - the machine's */
  readonly clock?: Clock;
  /** In [0, 1), for jitter. @default Math.random */
  readonly random?: () => number;
}

const CANCEL_RETRY_MS = 500;

/** Starts queued runs and leads each to its end on the backend. The caller holds the lead of the instance. */
export class Controller {
  readonly #options: ControllerOptions;
  readonly #clock: Clock;
  readonly #supervisor: Supervisor;
  readonly #reconciler: Reconciler;
  readonly #dispatcher: Dispatcher;
  readonly #ends = new AttemptEnds();
  readonly #observing = new AbortController();
  #observed: Promise<void> = Promise.resolve();

  private constructor(options: ControllerOptions) {
    const { clock = systemClock, random = Math.random, observer = UNOBSERVED } = options;
    const { onEnd = () => undefined } = options;
    this.#options = options;
    this.#clock = clock;
    this.#supervisor = new Supervisor({
      ...options,
      ...{ clock, random, ends: this.#ends },
      observer: {
        refused: (attempt, reason, retryAfterMs) => {
          observer.refused(reason);
          this.#dispatcher.refused(attempt, reason, retryAfterMs);
        },
        claimed: (attempt) => this.#dispatcher.claimed(attempt),
        ended: onEnd,
      },
    });
    this.#reconciler = new Reconciler({ ...options, clock, observer, supervisor: this.#supervisor });
    this.#dispatcher = new Dispatcher({ ...options, clock, observer, supervisor: this.#supervisor });
    observer.pressure(() => this.#dispatcher.pressure());
  }

  /** Takes over what a controller before left, then starts to lead runs. */
  static async start(options: ControllerOptions): Promise<Controller> {
    const controller = new Controller(options);
    try {
      await controller.#start();
    } catch (error) {
      await controller.abandon();
      throw error;
    }
    return controller;
  }

  /** Stops at once, and leaves live runs to the next controller. */
  async abandon(): Promise<void> {
    this.#supervisor.abandon();
    await this.close();
  }

  async #start(): Promise<void> {
    this.#observed = this.#observe();
    await this.#reconciler.recover();
    await this.#dispatcher.start();
    this.#reconciler.start();
  }

  async #observe(): Promise<void> {
    for await (const observation of this.#options.backend.observe(this.#observing.signal)) {
      if (observation.kind === 'ended') this.#ends.ended(observation, observation.exit);
    }
  }

  /** Asks for the cancellation of all runs that hold a slot, until it could be recorded. */
  async cancelLive(): Promise<void> {
    const { store, log } = this.#options;
    while (!this.#observing.signal.aborted) {
      try {
        for (const { runId } of await store.liveAttempts()) await store.requestCancel(runId);
        return;
      } catch (error) {
        log.warn({ error: messageOf(error) }, 'could not cancel live runs; trying again');
        await this.#clock.sleep(CANCEL_RETRY_MS);
      }
    }
  }

  /** Takes no more runs, and resolves when those that hold a slot have ended. Queued ones stay queued. */
  async close(): Promise<void> {
    await this.#dispatcher.close();
    await this.#supervisor.idle();
    await this.#reconciler.close();
    this.#observing.abort();
    await this.#observed;
  }
}
