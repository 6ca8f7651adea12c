import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { messageOf } from '../errors.ts';

/** Advisory lock class of controllers ("LEAD"); the second key is the platform instance. */
const LEADERSHIP_LOCK = 0x4c454144;
const CHECK_MS = 1_000;

/**
 * At most one controller of an instance leads runs at a time: whoever holds a PostgreSQL session lock. A lock ends
 * with its session, so a dead controller's is free at once; others stand by until then.
 */
export class Leadership {
  readonly #client: pg.Client;
  #lost = false;

  private constructor(client: pg.Client, onLost: (error: Error) => void) {
    this.#client = client;
    client.on('error', (error) => {
      this.#lost = true;
      onLost(error);
    });
  }

  /**
   * Waits until this controller leads.
   * @param onWait told once when another one leads, and which database session it is.
   * @param onLost told when the session, and with it the lead, was lost.
   */
  static async acquire(options: {
    readonly databaseUrl: string;
    readonly instance: string;
    readonly onWait: () => void;
    readonly onLost: (error: Error) => void;
    readonly signal: AbortSignal;
  }): Promise<Leadership> {
    const client = new pg.Client({ connectionString: options.databaseUrl, keepAlive: true });
    await client.connect();
    try {
      for (let waited = false; ; waited = true) {
        const { rows } = await client.query<{ leads: boolean }>(
          'SELECT pg_try_advisory_lock($1, hashtext($2)) AS leads',
          [LEADERSHIP_LOCK, options.instance],
        );
        if (rows[0]?.leads === true) return new Leadership(client, options.onLost);
        if (!waited) options.onWait();
        await delay(CHECK_MS, undefined, { signal: options.signal });
      }
    } catch (error) {
      await client.end().catch((endError: unknown) => messageOf(endError));
      throw error;
    }
  }

  /** Gives the lead up. */
  async release(): Promise<void> {
    if (!this.#lost) await this.#client.end();
  }
}
