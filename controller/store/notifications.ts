import { EventEmitter, on } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { AttemptRef, RunId, TenantId } from '../model/ids.ts';
import type { RunStatus } from '../model/run-status.ts';

/** A run was created, or its status changed, or its cancellation was asked for. */
export interface RunChange {
  readonly runId: RunId;
  readonly tenantId: TenantId;
  readonly attempt: number;
  readonly status: RunStatus;
  readonly cancelRequested: boolean;
}

/** What to be told of. */
export interface RunListeners {
  /** Changes of this one run. */
  readonly run?: readonly [RunId, (change: RunChange) => void];
  /** The runner of this run has given its result. */
  readonly result?: readonly [RunId, (result: AttemptRef) => void];
  /** Changes of all runs. */
  readonly runs?: (change: RunChange) => void;
  /** A tenant's settings, or the platform's limits, changed. */
  readonly limits?: () => void;
  /** Listening again after a lost connection: anything may have happened in between. */
  readonly resync?: () => void;
}

/** Tells of changes of runs. */
export interface RunChanges {
  /** @returns what ends it. */
  readonly listen: (listeners: RunListeners) => () => void;
}

const RECONNECT_MS = 500;

/**
 * What PostgreSQL tells us of changes (LISTEN/NOTIFY), over one connection that is made again when it is lost.
 * A hint, never the record: whoever waits also looks at the tables, after `resync` once more.
 */
export class Notifications implements RunChanges {
  /** Of one run under its id: who waits for one of thousands is not woken by the others. */
  readonly #events = new EventEmitter();
  readonly #databaseUrl: string;
  readonly #onError: (error: Error) => void;
  #client: pg.Client | undefined;
  #closed = false;

  constructor(databaseUrl: string, onError: (error: Error) => void) {
    this.#events.setMaxListeners(0);
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
        this.#events.emit('resync');
        return;
      } catch (error) {
        this.#onError(error as Error);
      }
    }
  }

  #receive(message: pg.Notification): void {
    switch (message.channel) {
      case 'wormhole_runs': {
        const change = JSON.parse(message.payload ?? '') as RunChange;
        this.#events.emit('runs', change);
        this.#events.emit(`run ${change.runId}`, change);
        break;
      }
      case 'wormhole_results': {
        const result = JSON.parse(message.payload ?? '') as AttemptRef;
        this.#events.emit(`result ${result.runId}`, result);
        break;
      }
      case 'wormhole_limits':
        this.#events.emit('limits');
        break;
    }
  }

  listen({ run, result, ...others }: RunListeners): () => void {
    const listeners = [
      ...Object.entries(others),
      ...(run === undefined ? [] : [[`run ${run[0]}`, run[1]]]),
      ...(result === undefined ? [] : [[`result ${result[0]}`, result[1]]]),
      // What is emitted under a name is what its listener takes.
    ] as [string, (told: unknown) => void][];
    for (const [event, listener] of listeners) this.#events.on(event, listener);
    return () => {
      for (const [event, listener] of listeners) this.#events.off(event, listener);
    };
  }

  /** Streams run changes until `signal` aborts. */
  async *changes(signal: AbortSignal): AsyncIterable<RunChange> {
    try {
      for await (const [change] of on(this.#events, 'runs', { signal })) yield change as RunChange;
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
  changes: RunChanges,
  runId: RunId,
  look: () => Promise<T | undefined>,
  signal: AbortSignal,
): Promise<T> {
  signal.throwIfAborted();
  return await new Promise<T>((resolve, reject) => {
    const stop = (): void => {
      clearInterval(again);
      stopListening();
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
    const onAbort = (): void => {
      stop();
      reject(signal.reason as Error);
    };
    const again = setInterval(check, LOOK_AGAIN_MS);
    const stopListening = changes.listen({ run: [runId, check], resync: check });
    signal.addEventListener('abort', onAbort);
    check();
  });
}
