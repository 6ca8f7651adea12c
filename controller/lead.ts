import pg from 'pg';
import type { Logger } from 'pino';
import type { Backend } from './backends/types.ts';
import type { PlatformConfig } from './config.ts';
import { Controller } from './dispatch/controller.ts';
import { Leadership } from './dispatch/leadership.ts';
import { messageOf, WormholeError } from './errors.ts';
import { followSettings } from './live-settings.ts';
import { deadLetterOf, DeadLetters, type EndedAttempt } from './intake/dead-letters.ts';
import { Intake } from './intake/intake.ts';
import { openQueueServer, type QueueServer } from './queue/queue-server.ts';
import { postgresDispatchStore } from './store/dispatch-store.ts';
import { openLogStore } from './store/logs/open.ts';
import type { LogStore } from './store/logs/types.ts';
import { migrate } from './store/migrate.ts';
import { Notifications } from './store/notifications.ts';
import type { ControllerTelemetry } from './telemetry/controller-telemetry.ts';

export interface LeadOptions {
  readonly config: PlatformConfig;
  readonly databaseUrl: string;
  readonly log: Logger;
  /** Told once when another controller leads and this one stands by. */
  readonly onStandby: () => void;
  /**
   * Opens the place where attempts run, once this controller leads.
   * @param opened closes what was opened for it, before anything of `parts`.
   */
  readonly openBackend: (parts: LeadParts, opened: AsyncDisposableStack) => Promise<Backend>;
  /** Told what happens while this controller leads. @default - nobody is */
  readonly telemetry?: ControllerTelemetry;
  /** Gives up standing by. */
  readonly signal: AbortSignal;
}

/** What a controller leads with, on one machine and in a cluster. */
export interface LeadParts {
  readonly pool: pg.Pool;
  readonly notifications: Notifications;
  readonly server: QueueServer;
  readonly logs: LogStore;
}

/** A controller that leads its instance. Disposed of, it gives the lead up and closes all that was opened. */
export interface Lead extends LeadParts, AsyncDisposable {
  readonly controller: Controller;
  /**
   * Aborts, with why as its reason, when another controller took the lead while PostgreSQL was away: this process must
   * exit at once and stop nothing, because the live runs are the other one's now.
   */
  readonly failed: AbortSignal;
  /** Gives the lead up at once, and leaves live runs to whoever takes it: this process must exit then. */
  abandon(): Promise<void>;
}

const POOL_CONNECTIONS = 20;
/** Of PostgreSQL, where the door's two queues are in it. */
const QUEUE_CONNECTIONS = 16;

/**
 * Waits until this controller leads its instance, brings the database to the newest schema, applies what is declared,
 * and takes over the runs that are live. What was opened is closed again if a later step fails.
 * @throws what PostgreSQL, the queue or the backend refuse; the signal's reason.
 */
export async function takeLead(options: LeadOptions): Promise<Lead> {
  const { config, databaseUrl, log } = options;
  const onLost = (error: Error): void => log.warn({ error: error.message }, 'a connection was lost');
  const failed = new AbortController();
  await using opened = new AsyncDisposableStack();

  const leadership = await Leadership.acquire({
    databaseUrl,
    instance: config.instance,
    onWait: options.onStandby,
    onInterrupted: onLost,
    onLost: () => {
      failed.abort(
        new WormholeError(
          'PLATFORM_NOT_RUNNING',
          `another controller leads instance "${config.instance}" now`,
        ),
      );
    },
    signal: options.signal,
  });
  opened.defer(() => leadership.release());

  const pool = new pg.Pool({ connectionString: databaseUrl, max: POOL_CONNECTIONS });
  pool.on('error', onLost);
  opened.defer(() => pool.end());
  await migrate(pool);
  const notifications = new Notifications(databaseUrl, onLost);
  opened.defer(() => notifications.close());
  await notifications.start();
  opened.defer(() => options.telemetry?.close());
  await options.telemetry?.lead({ pool, changes: notifications });
  const server = openQueueServer({
    databaseUrl,
    redisUrl: config.redisUrl,
    maxConnections: QUEUE_CONNECTIONS,
    onError: onLost,
  });
  opened.defer(() => server.close());
  const logs = await openLogStore({
    pool,
    mongodbUrl: config.mongodbUrl,
    retentionDays: config.logRetentionDays,
    log: (message) => log.warn(message),
  });
  opened.defer(() => logs.close());
  const following = new AbortController();
  const { followed } = await followSettings(pool, config, { log, signal: following.signal });
  opened.defer(async () => {
    following.abort();
    await followed;
  });

  const parts = { pool, notifications, server, logs };
  const backend = await options.openBackend(parts, opened);
  const deadLetters = new DeadLetters(server);
  opened.defer(() => deadLetters.close());
  const intake = new Intake({ pool, server, changes: notifications, deadLetters, log });
  opened.defer(() => intake.close());
  await intake.start();
  const controller = await Controller.start({
    store: postgresDispatchStore(pool),
    changes: notifications,
    backend,
    policy: config.retry,
    claimTimeoutMs: config.claimTimeoutMs,
    ...(options.telemetry && { observer: options.telemetry.observer }),
    onEnd: (attempt) => keepUndone(deadLetters, attempt, log),
    log,
  });
  // Lost while the start went on.
  if (failed.signal.aborted) await controller.abandon();
  failed.signal.throwIfAborted();
  const all = opened.move();
  return {
    ...parts,
    controller,
    failed: failed.signal,
    abandon: () => leadership.release(),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** The run is recorded as FAILED already: without its letter it is only found in another place. */
function keepUndone(deadLetters: DeadLetters, attempt: EndedAttempt, log: Logger): void {
  const letter = deadLetterOf(attempt);
  if (letter === undefined) return;
  deadLetters.add(letter).catch((error: unknown) => {
    log.warn({ runId: attempt.runId, error: messageOf(error) }, 'could not add to the dead letters');
  });
}
