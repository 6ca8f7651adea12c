import type { RunId, TenantId } from '../model/ids.ts';
import { tenantQueue } from './names.ts';
import type { QueueServer, RunJobData, RunQueue } from './queue-server.ts';

/** Queues that are kept open for adding; the one that was opened first is closed beyond this. */
const OPEN_QUEUES = 256;
const BULK = 500;

/** Puts runs into their tenants' queues. */
export class RunQueues {
  readonly #server: QueueServer;
  readonly #queues = new Map<TenantId, RunQueue<RunJobData>>();

  constructor(server: QueueServer) {
    this.#server = server;
  }

  /** Adds a job for the run; a run that has one keeps it. */
  async enqueue(tenantId: TenantId, runId: RunId): Promise<void> {
    await this.#with(tenantId, (queue) => queue.add('run', { runId }, { jobId: runId }));
  }

  /** @returns how many jobs the tenant has, those included that are being worked on. */
  async count(tenantId: TenantId): Promise<number> {
    const counts = await this.#with(tenantId, (queue) =>
      queue.getJobCounts('waiting', 'active', 'delayed', 'prioritized'),
    );
    return Object.values(counts).reduce((sum, count) => sum + count, 0);
  }

  /** Adds a job for each of the tenant's runs, in this order. */
  async enqueueAll(tenantId: TenantId, runIds: readonly RunId[]): Promise<void> {
    for (let from = 0; from < runIds.length; from += BULK) {
      const jobs = runIds
        .slice(from, from + BULK)
        .map((runId) => ({ name: 'run', data: { runId }, opts: { jobId: runId } }));
      await this.#with(tenantId, (queue) => queue.addBulk(jobs));
    }
  }

  /**
   * Drops the tenant's jobs if any is marked as being worked on. Only for the one controller that may lead runs,
   * before it does: such a mark is a dead controller's, and would hold a place until its lock expires.
   * @returns whether jobs were dropped, and must be added again.
   */
  async dropAbandoned(tenantId: TenantId): Promise<boolean> {
    return await this.#with(tenantId, dropAbandoned);
  }

  /** A queue whose first connection failed never works again, so one that failed is made anew the next time. */
  async #with<T>(tenantId: TenantId, work: (queue: RunQueue<RunJobData>) => Promise<T>): Promise<T> {
    const queue = this.#queueOf(tenantId);
    try {
      return await work(queue);
    } catch (error) {
      this.#queues.delete(tenantId);
      await queue.close().catch(() => undefined);
      throw error;
    }
  }

  #queueOf(tenantId: TenantId): RunQueue<RunJobData> {
    const open = this.#queues.get(tenantId);
    if (open !== undefined) return open;
    const queue = this.#server.queue(tenantQueue(tenantId));
    this.#queues.set(tenantId, queue);
    const oldest = this.#queues.entries().next();
    if (this.#queues.size > OPEN_QUEUES && !oldest.done) {
      this.#queues.delete(oldest.value[0]);
      void oldest.value[1].close();
    }
    return queue;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
    this.#queues.clear();
  }
}

/**
 * Drops all jobs of a queue in which one is marked as being worked on, or that is paused: a controller that dies
 * while it drops jobs leaves it so. @returns whether it did.
 */
export async function dropAbandoned(queue: RunQueue<RunJobData>): Promise<boolean> {
  const { active = 0 } = await queue.getJobCounts('active');
  if (active === 0 && !(await queue.isPaused())) return false;
  await queue.obliterate({ force: true });
  return true;
}
