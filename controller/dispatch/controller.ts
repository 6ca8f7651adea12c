import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { Logger } from 'pino';
import type { Backend } from '../backends/types.ts';
import { messageOf } from '../errors.ts';
import { Intake } from '../intake/intake.ts';
import type { AttemptPolicy } from '../model/verdict.ts';
import type { QueueServer } from '../queue/queue-server.ts';
import { RunQueues } from '../queue/run-queues.ts';
import { liveAttempts } from '../store/attempts.ts';
import type { Notifications } from '../store/notifications.ts';
import { requestCancel } from '../store/run-transitions.ts';
import { AttemptEnds } from './attempt-ends.ts';
import { Dispatcher } from './dispatcher.ts';
import { Reconciler } from './reconciler.ts';
import { Supervisor } from './supervisor.ts';
import { TenantLanes } from './tenant-lanes.ts';

export interface ControllerOptions {
  readonly pool: pg.Pool;
  readonly server: QueueServer;
  readonly notifications: Notifications;
  readonly backend: Backend;
  readonly policy: AttemptPolicy;
  /** See {@link SupervisorOptions.claimTimeoutMs}. */
  readonly claimTimeoutMs: number;
  readonly log: Logger;
}

const CANCEL_RETRY_MS = 500;

/** Takes runs from the queue and leads each to its end on the backend. The caller holds the lead of the instance. */
export class Controller {
  readonly #options: ControllerOptions;
  readonly #queues: RunQueues;
  readonly #supervisor: Supervisor;
  readonly #reconciler: Reconciler;
  readonly #dispatcher: Dispatcher;
  readonly #lanes: TenantLanes;
  readonly #intake: Intake;
  readonly #ends = new AttemptEnds();
  readonly #observing = new AbortController();
  #observed: Promise<void> = Promise.resolve();

  private constructor(options: ControllerOptions) {
    const { pool, server, notifications, backend, log } = options;
    this.#options = options;
    this.#queues = new RunQueues(server);
    this.#supervisor = new Supervisor({ ...options, ends: this.#ends });
    this.#reconciler = new Reconciler(pool, backend, this.#supervisor, this.#queues, log);
    this.#dispatcher = new Dispatcher(pool, server, this.#supervisor);
    this.#lanes = new TenantLanes(pool, server, this.#dispatcher, notifications, log);
    this.#intake = new Intake(pool, server, this.#queues, log);
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

  /** Stops at once, and leaves live runs and the queue to the next controller. */
  async abandon(): Promise<void> {
    this.#supervisor.abandon();
    await this.close();
  }

  async #start(): Promise<void> {
    const { server, notifications, log } = this.#options;
    this.#observed = this.#observe();
    await this.#reconciler.recover(server);
    await this.#dispatcher.start();
    await this.#lanes.start();
    await this.#intake.start();
    this.#reconciler.start();
    notifications.on('limits', () => {
      this.#dispatcher.refresh().catch((error: unknown) => {
        log.warn({ error: messageOf(error) }, 'could not read the global cap');
      });
    });
  }

  async #observe(): Promise<void> {
    for await (const observation of this.#options.backend.observe(this.#observing.signal)) {
      if (observation.kind === 'ended') this.#ends.ended(observation, observation.exit);
    }
  }

  /** Asks for the cancellation of all runs that hold a slot, until it could be recorded. */
  async cancelLive(): Promise<void> {
    const { pool, log } = this.#options;
    while (!this.#observing.signal.aborted) {
      try {
        for (const { runId } of await liveAttempts(pool)) await requestCancel(pool, runId);
        return;
      } catch (error) {
        log.warn({ error: messageOf(error) }, 'could not cancel live runs; trying again');
        await delay(CANCEL_RETRY_MS);
      }
    }
  }

  /** Takes no more runs, and resolves when those that hold a slot have ended. Queued ones stay queued. */
  async close(): Promise<void> {
    await this.#intake.close();
    await this.#lanes.close();
    await this.#dispatcher.close();
    await this.#supervisor.idle();
    await this.#reconciler.close();
    this.#observing.abort();
    await this.#observed;
    await this.#queues.close();
  }
}
