import { setMaxListeners } from 'node:events';
import type { Job } from 'bullmq';
import type pg from 'pg';
import type { Logger } from 'pino';
import { messageOf } from '../errors.ts';
import type { RunId, TenantId } from '../model/ids.ts';
import { isTerminal } from '../model/run-status.ts';
import { tenantQueue } from '../queue/names.ts';
import type { Postponed, QueueServer, RunJobData, RunQueue, RunWorker } from '../queue/queue-server.ts';
import { waitForRun, type Notifications } from '../store/notifications.ts';
import { countSlots, findStatus } from '../store/runs.ts';
import { getTenant, tenantsWithRuns } from '../store/tenants.ts';
import type { Dispatcher } from './dispatcher.ts';

/** One tenant's queue and the worker on it. */
interface Lane {
  readonly queue: RunQueue<RunJobData>;
  readonly worker: RunWorker;
  readonly openedAt: number;
  /** When its tenant was last seen with work. */
  busyAt: number;
  /** Aborts when the lane closes: jobs that wait in it go back to the queue. */
  readonly closing: AbortController;
}

const TIDY_MS = 1_000;
/** How long a lane stays open after its tenant's last run, if nobody waits for one. */
const IDLE_MS = 10_000;
/** How long a lane with work stays open when other tenants wait for one. */
const TURN_MS = 5_000;
/** Workers that are not lanes: dispatch and intake. */
const OTHER_WORKERS = 2;

/**
 * A queue per tenant, whose global concurrency is the tenant's cap: a job is active from the tenant's turn to the
 * run's end. Lanes are open only for tenants that have work; an idle tenant costs no connection. Where the server
 * bears fewer lanes than there are tenants with work, they take turns; what a lane gave to dispatch goes on without it.
 */
export class TenantLanes {
  readonly #pool: pg.Pool;
  readonly #server: QueueServer;
  readonly #dispatcher: Dispatcher;
  readonly #notifications: Notifications;
  readonly #log: Logger;
  readonly #lanes = new Map<TenantId, Promise<Lane>>();
  #stopping = false;
  #tidying: Promise<void> = Promise.resolve();
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
    this.#sweep = setInterval(() => {
      this.#tidying = this.#tidying.then(() => this.#tidy()).catch(this.#report);
    }, TIDY_MS);
    await this.openAll();
  }

  /** Opens a lane for every tenant that has queued runs, as far as there are lanes. */
  async openAll(): Promise<void> {
    for (const [tenantId, { queued }] of await tenantsWithRuns(this.#pool)) {
      if (queued) await this.open(tenantId);
    }
  }

  /** Opens the tenant's lane, or finds it open; without a free lane the tenant waits for one. */
  async open(tenantId: TenantId): Promise<void> {
    if (this.#stopping) return;
    const open = this.#lanes.get(tenantId);
    if (open === undefined && this.#lanes.size >= this.#maxLanes) return;
    const opening = open ?? this.#make(tenantId);
    this.#lanes.set(tenantId, opening);
    try {
      await opening;
    } catch (error) {
      this.#lanes.delete(tenantId);
      throw error;
    }
  }

  get #maxLanes(): number {
    return Math.max(1, this.#server.maxWorkers - OTHER_WORKERS);
  }

  async #make(tenantId: TenantId): Promise<Lane> {
    const { maxConcurrent } = await getTenant(this.#pool, tenantId);
    const name = tenantQueue(tenantId);
    const queue = this.#server.queue(name);
    const closing = new AbortController();
    // Every run that waits in the lane listens to it.
    setMaxListeners(0, closing.signal);
    try {
      await queue.setGlobalConcurrency(maxConcurrent);
      const process = (job: Job<RunJobData>) => this.#process(tenantId, job, closing.signal);
      const worker = await this.#server.worker(name, process, maxConcurrent);
      const openedAt = Date.now();
      return { queue, worker, openedAt, busyAt: openedAt, closing };
    } catch (error) {
      await queue.close().catch(() => undefined);
      throw error;
    }
  }

  /** Sees to it that the run is in dispatch, until it has ended. */
  async #process(
    tenantId: TenantId,
    job: Job<RunJobData>,
    closing: AbortSignal,
  ): Promise<Postponed | undefined> {
    const runId = job.data.runId as RunId;
    const look = async (): Promise<true | undefined> => {
      const status = await findStatus(this.#pool, runId);
      if (status === undefined || isTerminal(status)) return true;
      // Again and again: its job may have been lost with the queue.
      if (status === 'QUEUED') {
        await this.#dispatcher.enqueue(runId, await countSlots(this.#pool, tenantId));
      }
      return undefined;
    };
    try {
      await waitForRun(this.#notifications, runId, look, closing);
    } catch (error) {
      // The run keeps its turn, whoever leads the lane next.
      if (closing.aborted) return { delayMs: 1 };
      throw error;
    }
    return undefined;
  }

  async #refresh(): Promise<void> {
    for (const [tenantId, opening] of this.#lanes) {
      const [lane, tenant] = await Promise.all([opening, getTenant(this.#pool, tenantId)]);
      await lane.queue.setGlobalConcurrency(tenant.maxConcurrent);
      lane.worker.concurrency = tenant.maxConcurrent;
    }
  }

  /** Closes lanes without work, makes room where tenants wait for a lane, and opens what should be open. */
  async #tidy(): Promise<void> {
    const working = await tenantsWithRuns(this.#pool);
    const waiting = [...working]
      .filter(([id, { queued }]) => queued && !this.#lanes.has(id))
      .map(([id]) => id);
    const now = Date.now();
    let closed = false;
    let wanted = waiting.length - (this.#maxLanes - this.#lanes.size);
    for (const [tenantId, opening] of this.#lanes) {
      const lane = await opening;
      if (working.has(tenantId)) lane.busyAt = now;
      const isIdle = now - lane.busyAt >= (wanted > 0 ? 0 : IDLE_MS) && !working.has(tenantId);
      const hadItsTurn = wanted > 0 && now - lane.openedAt >= TURN_MS;
      if (!isIdle && !hadItsTurn) continue;
      this.#lanes.delete(tenantId);
      await closeLane(lane);
      wanted -= 1;
      closed = true;
    }
    for (const tenantId of waiting) await this.open(tenantId);
    // A run that came between the look and the close.
    if (closed) await this.openAll();
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
    this.#stopping = true;
    await this.#tidying;
    const lanes = await Promise.allSettled(this.#lanes.values());
    this.#lanes.clear();
    await Promise.all(lanes.flatMap((lane) => (lane.status === 'fulfilled' ? [closeLane(lane.value)] : [])));
  }
}

async function closeLane({ queue, worker, closing }: Lane): Promise<void> {
  closing.abort(new Error('the lane is closing'));
  await worker.close();
  await queue.close();
}
