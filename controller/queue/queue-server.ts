import {
  createPostgresBackend,
  DelayedError,
  Queue,
  UnrecoverableError,
  withBackend,
  Worker,
  type Job,
  type PgPool,
  type Processor,
} from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';

/**
 * A job's lock: renewed while its processor runs, so a longer one survives a busier event loop, and a shorter one
 * is delivered again sooner after a crash. Processing is idempotent, so delivery twice costs nothing.
 */
const LOCK_MS = 15_000;
const STALLED_CHECK_MS = 5_000;
/** A job that was delivered again is not a failed one: PostgreSQL knows how often the run was started. */
const UNBOUNDED = 1_000_000_000;

/** The part of a BullMQ queue that we use, on either backend. */
export type JobQueue<D> = Pick<
  Queue<D, unknown>,
  'add' | 'addBulk' | 'getJob' | 'getJobs' | 'getJobCounts' | 'remove' | 'clean' | 'close' | 'name'
>;
/** The part of a BullMQ worker that we use, on either backend. */
export type JobWorker = Pick<Worker, 'close' | 'name'>;

/** What becomes of a job that was processed. */
export type JobOutcome =
  | { readonly kind: 'done' }
  /** It stays, and is delivered again after this long. */
  | { readonly kind: 'postponed'; readonly delayMs: number }
  /** It fails, with this for its producer to see, and is not delivered again. */
  | { readonly kind: 'refused'; readonly message: string };

/**
 * Works one delivery of a job off. What it throws is told, and the job is delivered again: no job is ever lost for
 * an error that nobody thought of.
 */
export type JobProcessor<D> = (job: Job<D>) => Promise<JobOutcome>;

/** Makes queues and workers on one server: Redis, or the PostgreSQL that also holds the record. */
export interface QueueServer {
  readonly kind: 'redis' | 'postgresql';
  /** A queue connects when it is first used. */
  queue<D>(name: string): JobQueue<D>;
  /** Starts a worker. @throws when the server cannot be reached now. */
  worker<D>(name: string, process: JobProcessor<D>, concurrency: number): Promise<JobWorker>;
  /** Closes the connections; queues and workers must be closed before. */
  close(): Promise<void>;
}

/** Opens Redis when there is one, otherwise the PostgreSQL of the record. */
export function openQueueServer(options: {
  readonly databaseUrl: string;
  readonly redisUrl?: string | undefined;
  /** On PostgreSQL: every worker takes one, and what it does a few more for moments. */
  readonly maxConnections: number;
  readonly onError: (error: Error) => void;
}): QueueServer {
  return options.redisUrl === undefined
    ? postgresQueueServer(options.databaseUrl, options)
    : redisQueueServer(options.redisUrl, options.onError);
}

const JOB_OPTIONS = { removeOnComplete: true, removeOnFail: true } as const;
/** How soon a job whose processing failed unexpectedly is delivered again. */
const FAILED_RETRY_MS = 1_000;
const workerOptions = (concurrency: number) => ({
  concurrency,
  autorun: false,
  lockDuration: LOCK_MS,
  stalledInterval: STALLED_CHECK_MS,
  maxStalledCount: UNBOUNDED,
  // What its producer says of it counts more.
  removeOnComplete: { count: 0 },
  removeOnFail: { count: 0 },
});

function processorOf<D>(process: JobProcessor<D>, onError: (error: Error) => void): Processor<D> {
  return async (job, token) => {
    let outcome: JobOutcome;
    try {
      outcome = await process(job);
    } catch (error) {
      onError(error instanceof Error ? error : new Error(String(error)));
      outcome = { kind: 'postponed', delayMs: FAILED_RETRY_MS };
    }
    switch (outcome.kind) {
      case 'done':
        return;
      case 'refused':
        throw new UnrecoverableError(outcome.message);
      case 'postponed':
        await job.moveToDelayed(Date.now() + outcome.delayMs, token);
        throw new DelayedError();
    }
  };
}

/** A worker of either backend that does not run yet. */
interface IdleWorker extends JobWorker {
  on(event: 'error', listener: (error: Error) => void): unknown;
  waitUntilReady(): Promise<unknown>;
  run(): Promise<void>;
}

/** A worker whose first connection fails would try for ever without a pause, so it is made sure of before it runs. */
async function run(worker: IdleWorker, onError: (error: Error) => void): Promise<JobWorker> {
  worker.on('error', onError);
  try {
    await worker.waitUntilReady();
  } catch (error) {
    await worker.close(true).catch(onError);
    throw error;
  }
  worker.run().catch(onError);
  return worker;
}

/** BullMQ on Redis. @param onError told of lost connections; BullMQ reconnects by itself. */
export function redisQueueServer(url: string, onError: (error: Error) => void): QueueServer {
  const connection = new Redis(url, { maxRetriesPerRequest: null });
  connection.on('error', onError);
  return {
    kind: 'redis',
    queue: <D>(name: string) => {
      const queue = new Queue<D, unknown, string>(name, { connection, defaultJobOptions: JOB_OPTIONS });
      queue.on('error', onError);
      return queue as unknown as JobQueue<D>;
    },
    worker: async <D>(name: string, process: JobProcessor<D>, concurrency: number) =>
      await run(
        new Worker<D>(name, processorOf(process, onError), { connection, ...workerOptions(concurrency) }),
        onError,
      ),
    close: async () => {
      await connection.quit().catch(() => connection.disconnect());
    },
  };
}

/**
 * BullMQ on PostgreSQL, schema `bullmq`. Every worker holds one connection for LISTEN, so there must be more connections
 * than workers.
 */
export function postgresQueueServer(
  databaseUrl: string,
  options: { readonly maxConnections: number; readonly onError: (error: Error) => void },
): QueueServer {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    options: '-c search_path=bullmq',
    max: options.maxConnections,
    connectionTimeoutMillis: 30_000,
    keepAlive: true,
  });
  // Every queue and worker listens on it.
  pool.setMaxListeners(0);
  pool.on('error', options.onError);
  const bullmq = withBackend(createPostgresBackend);
  // BullMQ describes the part of node-postgres that it uses with types of its own.
  const connection = pool as unknown as PgPool;
  return {
    kind: 'postgresql',
    queue: <D>(name: string) => {
      const queue = new bullmq.Queue<D, unknown>(name, { connection, defaultJobOptions: JOB_OPTIONS });
      queue.on('error', options.onError);
      return queue as unknown as JobQueue<D>;
    },
    worker: async <D>(name: string, process: JobProcessor<D>, concurrency: number) =>
      await run(
        new bullmq.Worker<D>(name, processorOf(process, options.onError), {
          connection,
          ...workerOptions(concurrency),
        }),
        options.onError,
      ),
    close: () => pool.end(),
  };
}
