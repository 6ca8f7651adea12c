import type { Job } from 'bullmq';
import type pg from 'pg';
import { DISPATCH_QUEUE } from '../queue/names.ts';
import type { Postponed, QueueServer, RunJobData, RunQueue, RunWorker } from '../queue/queue-server.ts';
import type { RunId } from '../model/ids.ts';
import { getGlobalCap } from '../store/tenants.ts';
import type { Supervisor } from './supervisor.ts';

/** How long a run whose slots PostgreSQL refused waits before it asks again. */
const HELD_RETRY_MS = 250;

/**
 * Works off the `dispatch` queue: runs that have their tenant's turn, those first whose tenant holds the fewest
 * slots. Its global concurrency is the global cap; PostgreSQL has the last word on both caps.
 */
export class Dispatcher {
  readonly #pool: pg.Pool;
  readonly #queue: RunQueue<RunJobData>;
  readonly #server: QueueServer;
  readonly #supervisor: Supervisor;
  #worker: RunWorker | undefined;

  constructor(pool: pg.Pool, server: QueueServer, supervisor: Supervisor) {
    this.#pool = pool;
    this.#server = server;
    this.#queue = server.queue(DISPATCH_QUEUE);
    this.#supervisor = supervisor;
  }

  async start(): Promise<void> {
    const cap = await getGlobalCap(this.#pool);
    await this.#queue.setGlobalConcurrency(cap);
    this.#worker = await this.#server.worker(DISPATCH_QUEUE, (job) => this.#process(job), cap);
  }

  /** Takes over a changed global cap. */
  async refresh(): Promise<void> {
    const cap = await getGlobalCap(this.#pool);
    await this.#queue.setGlobalConcurrency(cap);
    if (this.#worker !== undefined) this.#worker.concurrency = cap;
  }

  /** Gives the run its place. A run that has one keeps it. @param slotsHeld how many slots its tenant holds. */
  async enqueue(runId: RunId, slotsHeld: number): Promise<void> {
    // Without a priority BullMQ would put the job before all that have one.
    await this.#queue.add('run', { runId }, { jobId: runId, priority: slotsHeld + 1 });
  }

  async #process(job: Job<RunJobData>): Promise<Postponed | undefined> {
    const outcome = await this.#supervisor.supervise(job.data.runId as RunId);
    switch (outcome.kind) {
      case 'ended':
        return undefined;
      case 'held':
        return { delayMs: HELD_RETRY_MS };
      case 'retry':
        return { delayMs: outcome.delayMs };
    }
  }

  /** Takes no more runs and resolves when those that it leads have ended. */
  async close(): Promise<void> {
    await this.#worker?.close();
    await this.#queue.close();
  }
}
