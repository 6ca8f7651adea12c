import { DelayedError, type Job } from 'bullmq';
import type pg from 'pg';
import type { Logger } from 'pino';
import { messageOf } from '../errors.ts';
import type { RunId, TenantId } from '../model/ids.ts';
import { isTerminal } from '../model/run-status.ts';
import { tenantQueue } from '../queue/names.ts';
import type { QueueServer, RunJobData, RunQueue, RunWorker } from '../queue/queue-server.ts';
import { waitForRun, type Notifications } from '../store/notifications.ts';
import { countQueued, countSlots, findStatus } from '../store/runs.ts';
import { getTenant, tenantsWithWork } from '../store/tenants.ts';
import type { Dispatcher } from './dispatcher.ts';

/** One tenant's queue and the worker on it. */
interface Lane {
  readonly queue: RunQueue<RunJobData>;
  readonly worker: RunWorker;
}

/** How long a lane stays open after its tenant's last run. */
const IDLE_MS = 10_000;

/**
 * A queue per tenant, whose global concurrency is the tenant's cap: a job is active from the tenant's turn to the
 * run's end. Lanes are open only for tenants that have work; an idle tenant costs no connection.
 */
export class TenantLanes {
  readonly #pool: pg.Pool;
  readonly #server: QueueServer;
  readonly #dispatcher: Dispatcher;
  readonly #notifications: Notifications;
  readonly #log: Logger;
  readonly #lanes = new Map<TenantId, Promise<Lane>>();
  readonly #stopping = new AbortController();
  #sweep: NodeJS.Timeout | undefined;

  constructor(
    pool: pg.Pool,
    server: QueueServer,
    dispatcher: Dispatcher,
    notifications: Notifications,
    log: Logger,
  ) {
    this.#pool = pool;
    this.#server = server;
    this.#dispatcher = dispatcher;
    this.#notifications = notifications;
    this.#log = log;
  }

  async start(): Promise<void> {
    this.#notifications.on('run', (change) => {
      if (change.status === 'QUEUED') this.#openQuietly(change.tenantId);
    });
    this.#notifications.on('resync', () => void this.openAll().catch(this.#report));
    this.#notifications.on('limits', () => void this.#refresh().catch(this.#report));
    this.#sweep = setInterval(() => void this.#closeIdle().catch(this.#report), IDLE_MS);
    this.#sweep.unref();
    await this.openAll();
  }

  /** Opens a lane for every tenant that has queued runs. */
  async openAll(): Promise<void> {
    for (const tenantId of (await tenantsWithWork(this.#pool)).keys()) await this.open(tenantId);
  }

  /** Opens the tenant's lane, or finds it open. */
  async open(tenantId: TenantId): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    const opening = this.#lanes.get(tenantId) ?? this.#make(tenantId);
    this.#lanes.set(tenantId, opening);
    try {
      await opening;
    } catch (error) {
      this.#lanes.delete(tenantId);
      throw error;
    }
  }

  async #make(tenantId: TenantId): Promise<Lane> {
    const { maxConcurrent } = await getTenant(this.#pool, tenantId);
    const name = tenantQueue(tenantId);
    const queue = this.#server.queue(name);
    await queue.setGlobalConcurrency(maxConcurrent);
    const worker = this.#server.worker(
      name,
      (job, token) => this.#process(tenantId, job, token),
      maxConcurrent,
    );
    return { queue, worker };
  }

  async #process(tenantId: TenantId, job: Job<RunJobData>, token: string | undefined): Promise<void> {
    const runId = job.data.runId as RunId;
    const status = await findStatus(this.#pool, runId);
    if (status === undefined || isTerminal(status)) return;
    if (status === 'QUEUED') {
      await this.#dispatcher.enqueue(runId, await countSlots(this.#pool, tenantId));
    }
    const ended = async (): Promise<true | undefined> => {
      const now = await findStatus(this.#pool, runId);
      return now === undefined || isTerminal(now) ? true : undefined;
    };
    try {
      await waitForRun(this.#notifications, runId, ended, this.#stopping.signal);
    } catch (error) {
      // We are stopping, or PostgreSQL is away: the run keeps its turn, whoever leads the lane next.
      if (!this.#stopping.signal.aborted) this.#report(error);
      await job.moveToDelayed(Date.now() + 1, token);
      throw new DelayedError();
    }
  }

  async #refresh(): Promise<void> {
    for (const [tenantId, opening] of this.#lanes) {
      const [lane, tenant] = await Promise.all([opening, getTenant(this.#pool, tenantId)]);
      await lane.queue.setGlobalConcurrency(tenant.maxConcurrent);
      lane.worker.concurrency = tenant.maxConcurrent;
    }
  }

  async #closeIdle(): Promise<void> {
    for (const [tenantId, opening] of this.#lanes) {
      const busy =
        (await countQueued(this.#pool, tenantId, 1)) > 0 || (await countSlots(this.#pool, tenantId)) > 0;
      if (busy) continue;
      this.#lanes.delete(tenantId);
      await closeLane(await opening);
      // A run that came between the look and the close.
      if ((await countQueued(this.#pool, tenantId, 1)) > 0) await this.open(tenantId);
    }
  }

  #openQuietly(tenantId: TenantId): void {
    this.open(tenantId).catch(this.#report);
  }

  readonly #report = (error: unknown): void => {
    this.#log.warn({ error: messageOf(error) }, 'a tenant lane failed; it is tried again');
  };

  /** Closes all lanes. Runs keep their place. */
  async close(): Promise<void> {
    clearInterval(this.#sweep);
    this.#stopping.abort(new Error('the controller is stopping'));
    const lanes = await Promise.allSettled(this.#lanes.values());
    this.#lanes.clear();
    await Promise.all(lanes.flatMap((lane) => (lane.status === 'fulfilled' ? [closeLane(lane.value)] : [])));
  }
}

async function closeLane(lane: Lane): Promise<void> {
  await lane.worker.close();
  await lane.queue.close();
}
