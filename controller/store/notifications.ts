import { EventEmitter, on } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { RunId, TenantId } from '../model/ids.ts';
import type { RunStatus } from '../model/run-status.ts';

/** A run was created, or its status changed, or its cancellation was asked for. */
export interface RunChange {
  readonly runId: RunId;
  readonly tenantId: TenantId;
  readonly attempt: number;
  readonly status: RunStatus;
  readonly cancelRequested: boolean;
}

interface Events {
  run: [RunChange];
  /** The runner of this run has given its result. */
  result: [{ readonly runId: RunId; readonly attempt: number }];
  /** A tenant's settings or the global cap changed. */
  limits: [];
  /** Listening again after a lost connection: anything may have happened in between. */
  resync: [];
}

const RECONNECT_MS = 500;

/**
 * What PostgreSQL tells us of changes (LISTEN/NOTIFY), over one connection that is made again when it is lost.
 * A hint, never the record: whoever waits also looks at the tables, after `resync` once more.
 */
export class Notifications extends EventEmitter<Events> {
  readonly #databaseUrl: string;
  readonly #onError: (error: Error) => void;
  #client: pg.Client | undefined;
  #closed = false;

  constructor(databaseUrl: string, onError: (error: Error) => void) {
    super();
    this.setMaxListeners(0);
    this.#databaseUrl = databaseUrl;
    this.#onError = onError;
  }

  /** Connects and listens. @throws when the first connection cannot be made. */
  async start(): Promise<void> {
    const client = new pg.Client({ connectionString: this.#databaseUrl, keepAlive: true });
    client.on('notification', (message) => this.#receive(message));
    client.on('error', this.#onError);
    client.on('end', () => {
      if (this.#client === client) void this.#reconnect();
    });
    await client.connect();
    if (this.#closed) {
      await client.end();
      return;
    }
    await client.query('LISTEN wormhole_runs; LISTEN wormhole_results; LISTEN wormhole_limits');
    this.#client = client;
  }

  async #reconnect(): Promise<void> {
    this.#client = undefined;
    while (!this.#closed) {
      await delay(RECONNECT_MS);
      try {
        await this.start();
        this.emit('resync');
        return;
      } catch (error) {
        this.#onError(error as Error);
      }
    }
  }

  #receive(message: pg.Notification): void {
    switch (message.channel) {
      case 'wormhole_runs':
        this.emit('run', JSON.parse(message.payload ?? '') as RunChange);
        break;
      case 'wormhole_results':
        this.emit('result', JSON.parse(message.payload ?? '') as { runId: RunId; attempt: number });
        break;
      case 'wormhole_limits':
        this.emit('limits');
        break;
    }
  }

  /** Streams run changes until `signal` aborts. */
  async *changes(signal: AbortSignal): AsyncIterable<RunChange> {
    try {
      for await (const [change] of on(this, 'run', { signal })) yield change as RunChange;
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** Stops listening. */
  async close(): Promise<void> {
    this.#closed = true;
    const client = this.#client;
    this.#client = undefined;
    await client?.end();
  }
}

/** A change that was never told is found this much later. */
const LOOK_AGAIN_MS = 10_000;

/**
 * Resolves with what `look` finds as soon as it finds something: looks at once, after every change of the run, after
 * every lost connection, and now and then.
 * @throws the signal's reason when it aborts first.
 */
export async function waitForRun<T>(
  notifications: Notifications,
  runId: RunId,
  look: () => Promise<T | undefined>,
  signal: AbortSignal,
): Promise<T> {
  signal.throwIfAborted();
  return await new Promise<T>((resolve, reject) => {
    const stop = (): void => {
      clearInterval(again);
      notifications.off('run', onRun);
      notifications.off('resync', check);
      signal.removeEventListener('abort', onAbort);
    };
    const check = (): void => {
      look().then(
        (found) => {
          if (found === undefined) return;
          stop();
          resolve(found);
        },
        (error: unknown) => {
          stop();
          reject(error instanceof Error ? error : new Error(String(error)));
        },
      );
    };
    const onRun = (change: RunChange): void => {
      if (change.runId === runId) check();
    };
    const onAbort = (): void => {
      stop();
      reject(signal.reason as Error);
    };
    const again = setInterval(check, LOOK_AGAIN_MS);
    notifications.on('run', onRun);
    notifications.on('resync', check);
    signal.addEventListener('abort', onAbort);
    check();
  });
}
