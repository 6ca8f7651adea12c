import type pg from 'pg';
import type { Logger } from 'pino';
import type { Backend } from '../backends/types.ts';
import { messageOf } from '../errors.ts';
import { attemptName } from '../model/ids.ts';
import { DISPATCH_QUEUE } from '../queue/names.ts';
import type { QueueServer } from '../queue/queue-server.ts';
import { dropAbandoned, type RunQueues } from '../queue/run-queues.ts';
import { liveAttempts, type LiveAttempt } from '../store/attempts.ts';
import { queuedOf, waitingSince } from '../store/runs.ts';
import { tenantsWithRuns } from '../store/tenants.ts';
import type { Supervisor } from './supervisor.ts';

const INTERVAL_MS = 5_000;
/** A run that has been QUEUED for this long is made sure to have a job. */
const QUEUED_FOR_MS = 10_000;

/**
 * Makes what exists agree with what is recorded: PostgreSQL is the record, the queue and the containers follow.
 * `recover` does it once before a controller leads runs, then it goes on in the background.
 */
export class Reconciler {
  readonly #pool: pg.Pool;
  readonly #backend: Backend;
  readonly #supervisor: Supervisor;
  readonly #queues: RunQueues;
  readonly #log: Logger;
  #timer: NodeJS.Timeout | undefined;
  #pass: Promise<void> = Promise.resolve();

  constructor(pool: pg.Pool, backend: Backend, supervisor: Supervisor, queues: RunQueues, log: Logger) {
    this.#pool = pool;
    this.#backend = backend;
    this.#supervisor = supervisor;
    this.#queues = queues;
    this.#log = log;
  }

  /** Takes over live runs first, removes what belongs to none, then rebuilds what a dead controller left in the queue. */
  async recover(server: QueueServer): Promise<void> {
    await this.#adoptLive();
    // They are in nobody's way: what cannot be listed now is no reason not to lead.
    await this.#removeOrphans().catch((error: unknown) => {
      this.#log.warn({ error: messageOf(error) }, 'could not look for containers of no live run yet');
    });
    const dispatch = server.queue(DISPATCH_QUEUE);
    await dropAbandoned(dispatch);
    await dispatch.close();
    for (const tenantId of (await tenantsWithRuns(this.#pool)).keys()) {
      if (await this.#queues.dropAbandoned(tenantId)) {
        await this.#queues.enqueueAll(tenantId, await queuedOf(this.#pool, tenantId));
      }
    }
    await this.#enqueueForgotten(0);
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#pass = this.#pass.then(() => this.#reconcile());
    }, INTERVAL_MS);
  }

  async #reconcile(): Promise<void> {
    try {
      await this.#adoptLive();
      await this.#removeOrphans();
      await this.#enqueueForgotten(QUEUED_FOR_MS);
    } catch (error) {
      this.#log.warn({ error: messageOf(error) }, 'reconciliation failed; it is tried again');
    }
  }

  async #adoptLive(): Promise<void> {
    const supervised = this.#supervisor.live;
    for (const attempt of await liveAttempts(this.#pool)) {
      if (!supervised.has(attempt.runId)) this.#adopt(attempt);
    }
  }

  #adopt(attempt: LiveAttempt): void {
    const { runId, tenantId } = attempt;
    this.#log.info({ runId, attempt: attempt.attempt, tenantId }, 'taking over a live run');
    // If another attempt is due, its lane sees that the run is QUEUED again.
    this.#supervisor.adopt(attempt).catch((error: unknown) => {
      this.#log.warn({ runId, error: messageOf(error) }, 'could not take over a live run yet');
    });
  }

  /** Containers are listed before the record is read: what is live by then was admitted before it was started. */
  async #removeOrphans(): Promise<void> {
    const containers = await this.#backend.list();
    const live = new Set((await liveAttempts(this.#pool)).map(attemptName));
    for (const container of containers.filter((c) => !live.has(attemptName(c)))) {
      this.#log.info(
        { runId: container.runId, attempt: container.attempt },
        'removing a container of no live run',
      );
      // One that the engine cannot remove must not keep the others, or the start.
      await this.#backend.remove(container).catch((error: unknown) => {
        this.#log.warn(
          { runId: container.runId, error: messageOf(error) },
          'could not remove a container yet',
        );
      });
    }
  }

  /**
   * Every run that is QUEUED or live has a job in its tenant's queue: where there are fewer jobs than runs, all that are
   * QUEUED are added again, which changes nothing for those that have theirs.
   */
  async #enqueueForgotten(queuedForMs: number): Promise<void> {
    const before = new Date(Date.now() - queuedForMs);
    for (const { tenantId, runs } of await waitingSince(this.#pool, before)) {
      if ((await this.#queues.count(tenantId)) >= runs) continue;
      await this.#queues.enqueueAll(tenantId, await queuedOf(this.#pool, tenantId));
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#pass;
  }
}
