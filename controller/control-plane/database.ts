import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from 'pino';
import { messageOf, WormholeError } from '../errors.ts';
import { isDatabaseUnavailable } from '../store/database.ts';
import { isMigrated } from '../store/migrate.ts';

/** Well below what a kubelet waits for an answer. */
const PROBE_TIMEOUT_MS = 2_000;
const RETRY_MS = 1_000;

/** One connection to PostgreSQL that only says whether there is one. */
export class DatabaseProbe implements AsyncDisposable {
  readonly #pool: pg.Pool;

  constructor(databaseUrl: string) {
    this.#pool = new pg.Pool({
      connectionString: databaseUrl,
      max: 1,
      connectionTimeoutMillis: PROBE_TIMEOUT_MS,
      query_timeout: PROBE_TIMEOUT_MS,
    });
    // What is wrong is told when somebody asks.
    this.#pool.on('error', () => undefined);
  }

  /** @returns why PostgreSQL cannot be used, or nothing. The error itself may name hosts and users, and is not told. */
  async reasons(options: { readonly needsSchema: boolean }): Promise<readonly string[]> {
    try {
      if (!options.needsSchema) await this.#pool.query('SELECT 1');
      else if (!(await isMigrated(this.#pool))) {
        return ['the database does not have the schema yet; the controller that leads brings it up'];
      }
      return [];
    } catch {
      return ['PostgreSQL cannot be reached'];
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.end();
  }
}

/**
 * Repeats `work` while it fails because a server is away: a process that ends for that would only be started again.
 * @param passes says of further errors that they pass by themselves.
 * @throws whatever else `work` throws; the signal's reason.
 */
export async function untilAvailable<T>(
  work: () => Promise<T>,
  options: {
    readonly log: Logger;
    readonly signal: AbortSignal;
    readonly passes?: (error: unknown) => boolean;
  },
): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      options.signal.throwIfAborted();
      if (!isAway(error) && options.passes?.(error) !== true) throw error;
      options.log.warn({ error: messageOf(error) }, 'a server is away; trying again');
      await delay(RETRY_MS, undefined, { signal: options.signal });
    }
  }
}

const AWAY: ReadonlySet<string> = new Set(['DATABASE_UNAVAILABLE', 'IDENTITY_UNAVAILABLE']);

const isAway = (error: unknown): boolean =>
  isDatabaseUnavailable(error) || (error instanceof WormholeError && AWAY.has(error.code));
