import { createPostgresBackend, Queue, withBackend, Worker, type PgPool, type Processor } from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';

/** What a BullMQ job of ours holds: a reference to the run, never a payload or a secret. */
export interface RunJobData {
  readonly runId: string;
}

/**
 * A job's lock: renewed while its processor runs, so a longer one survives a busier event loop, and a shorter one
 * is delivered again sooner after a crash. Processing is idempotent, so delivery twice costs nothing.
 */
const LOCK_MS = 15_000;
const STALLED_CHECK_MS = 5_000;
/** A job that was delivered again is not a failed one: PostgreSQL knows how often the run was started. */
const UNBOUNDED = 1_000_000_000;

/** The part of a BullMQ queue that we use, on either backend. */
export type RunQueue<D> = Pick<
  Queue<D, unknown>,
  'add' | 'addBulk' | 'obliterate' | 'setGlobalConcurrency' | 'getJobCounts' | 'close' | 'name'
>;
/** The part of a BullMQ worker that we use, on either backend. */
export type RunWorker = Pick<Worker, 'close' | 'concurrency' | 'name'>;

/** Makes queues and workers on one server: Redis, or the PostgreSQL that also holds the record. */
export interface QueueServer {
  readonly kind: 'redis' | 'postgresql';
  queue<D = RunJobData>(name: string): RunQueue<D>;
  worker<D = RunJobData>(name: string, process: Processor<D>, concurrency: number): RunWorker;
  /** Closes the connections; queues and workers must be closed before. */
  close(): Promise<void>;
}

/** Opens Redis when there is one, otherwise the PostgreSQL of the record. */
export function openQueueServer(options: {
  readonly databaseUrl: string;
  readonly redisUrl?: string | undefined;
  /** On PostgreSQL: every worker takes one. */
  readonly maxConnections: number;
  readonly onError: (error: Error) => void;
}): QueueServer {
  return options.redisUrl === undefined
    ? postgresQueueServer(options.databaseUrl, options)
    : redisQueueServer(options.redisUrl, options.onError);
}

const JOB_OPTIONS = { removeOnComplete: true, removeOnFail: true } as const;
const workerOptions = (concurrency: number) => ({
  concurrency,
  lockDuration: LOCK_MS,
  stalledInterval: STALLED_CHECK_MS,
  maxStalledCount: UNBOUNDED,
});

/** BullMQ on Redis. @param onError told of lost connections; BullMQ reconnects by itself. */
export function redisQueueServer(url: string, onError: (error: Error) => void): QueueServer {
  const connection = new Redis(url, { maxRetriesPerRequest: null });
  connection.on('error', onError);
  return {
    kind: 'redis',
    queue: <D>(name: string) => {
      const queue = new Queue<D, unknown, string>(name, { connection, defaultJobOptions: JOB_OPTIONS });
      queue.on('error', onError);
      return queue as unknown as RunQueue<D>;
    },
    worker: <D>(name: string, process: Processor<D>, concurrency: number) => {
      const worker = new Worker<D>(name, process, { connection, ...workerOptions(concurrency) });
      worker.on('error', onError);
      return worker;
    },
    close: async () => {
      await connection.quit().catch(() => connection.disconnect());
    },
  };
}

/**
 * BullMQ on PostgreSQL, schema `bullmq`. Every worker holds one connection for LISTEN, so the server must allow
 * `maxConnections`; the pool fails loudly instead of hanging when it runs out.
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
      return queue as unknown as RunQueue<D>;
    },
    worker: <D>(name: string, process: Processor<D>, concurrency: number) => {
      const worker = new bullmq.Worker<D>(name, process, { connection, ...workerOptions(concurrency) });
      worker.on('error', options.onError);
      return worker;
    },
    close: () => pool.end(),
  };
}
