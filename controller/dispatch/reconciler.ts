import type { Logger } from 'pino';
import type { Backend } from '../backends/types.ts';
import type { Clock } from '../clock.ts';
import { messageOf } from '../errors.ts';
import { attemptName } from '../model/ids.ts';
import type { DispatchObserver } from '../telemetry/dispatch-observer.ts';
import type { DispatchStore } from './store.ts';
import type { Supervisor } from './supervisor.ts';

export interface ReconcilerOptions {
  readonly store: DispatchStore;
  readonly backend: Backend;
  readonly supervisor: Supervisor;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observer: DispatchObserver;
}

const INTERVAL_MS = 5_000;

/**
 * Makes what exists agree with what is recorded: PostgreSQL is the record, the containers follow. `recover` does it once
 * before a controller leads runs, then it goes on in the background.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  #stop: () => void = () => undefined;
  #pass: Promise<void> = Promise.resolve();

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  /** Takes over live runs first, then removes what belongs to none. */
  async recover(): Promise<void> {
    await this.#adoptLive();
    // They are in nobody's way: what cannot be listed now is no reason not to lead.
    await this.#compareContainers().catch((error: unknown) => {
      this.#options.log.warn({ error: messageOf(error) }, 'could not look for containers of no live run yet');
    });
  }

  start(): void {
    this.#stop = this.#options.clock.every(INTERVAL_MS, () => {
      this.#pass = this.#pass.then(() => this.#reconcile());
    });
  }

  async #reconcile(): Promise<void> {
    try {
      await this.#adoptLive();
      await this.#compareContainers();
    } catch (error) {
      this.#options.log.warn({ error: messageOf(error) }, 'reconciliation failed; it is tried again');
    }
  }

  async #adoptLive(): Promise<void> {
    const { store, supervisor, log } = this.#options;
    for (const attempt of await store.liveAttempts()) {
      if (supervisor.isLeading(attempt.runId)) continue;
      const { runId, tenantId } = attempt;
      log.info({ runId, attempt: attempt.attempt, tenantId }, 'taking over a live run');
      supervisor.adopt(attempt);
    }
  }

  /** Containers are listed before the record is read: what is live by then was admitted before it was started. */
  async #compareContainers(): Promise<void> {
    const { store, backend, observer } = this.#options;
    const containers = await backend.list();
    const slots = await store.liveAttempts();
    observer.compared(slots, containers);
    const live = new Set(slots.map(attemptName));
    await this.#remove(containers.filter((container) => !live.has(attemptName(container))));
  }

  async #remove(orphans: Awaited<ReturnType<Backend['list']>>): Promise<void> {
    const { backend, log } = this.#options;
    for (const container of orphans) {
      const { runId, attempt } = container;
      log.info({ runId, attempt }, 'removing a container of no live run');
      // One that the engine cannot remove must not keep the others, or the start.
      await backend.remove(container).catch((error: unknown) => {
        log.warn({ runId, error: messageOf(error) }, 'could not remove a container yet');
      });
    }
  }

  async close(): Promise<void> {
    this.#stop();
    await this.#pass;
  }
}
