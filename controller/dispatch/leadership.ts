import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';

/** Advisory lock class of controllers ("LEAD"); the second key is the platform instance. */
const LEADERSHIP_LOCK = 0x4c454144;
const CHECK_MS = 500;
const RECONNECT_MS = 250;
/** The leader is heard of this often; PostgreSQL ends the session of one that it has not heard of for so long. */
const HEARTBEAT_MS = 1_000;
const SILENCE_MS = 4_000;

export interface LeadershipOptions {
  readonly databaseUrl: string;
  readonly instance: string;
  /** Told once when another controller leads and this one stands by. */
  readonly onWait: () => void;
  /** Told of a lost connection; the lead is taken again as soon as PostgreSQL is back. */
  readonly onInterrupted: (error: Error) => void;
  /** Told when another controller took the lead meanwhile: this one must end at once and touch nothing. */
  readonly onLost: () => void;
  /** Gives up standing by. */
  readonly signal: AbortSignal;
}

/**
 * At most one controller of an instance leads runs at a time: whoever holds a PostgreSQL session lock. A lock ends
 * with its session: at once when the controller dies, and after `SILENCE_MS` when it is frozen, or its machine is gone.
 * Others stand by until then. No promise rests on it alone: what two leaders could do at the same moment is decided by
 * compare-and-set.
 */
export class Leadership {
  readonly #options: LeadershipOptions;
  #client: pg.Client | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #released = false;

  private constructor(options: LeadershipOptions) {
    this.#options = options;
  }

  /** Waits until this controller leads. @throws when PostgreSQL cannot be reached; the signal's reason. */
  static async acquire(options: LeadershipOptions): Promise<Leadership> {
    const leadership = new Leadership(options);
    for (let waited = false; !(await leadership.#tryLock()); waited = true) {
      if (!waited) options.onWait();
      await delay(CHECK_MS, undefined, { signal: options.signal });
    }
    return leadership;
  }

  async #tryLock(): Promise<boolean> {
    const client = new pg.Client({ connectionString: this.#options.databaseUrl, keepAlive: true });
    client.on('error', (error) => {
      if (this.#client === client) void this.#regain(error);
    });
    await client.connect();
    const { rows } = await client.query<{ leads: boolean }>(
      'SELECT pg_try_advisory_lock($1, hashtext($2)) AS leads',
      [LEADERSHIP_LOCK, this.#options.instance],
    );
    if (rows[0]?.leads !== true || this.#released) {
      await client.end();
      return false;
    }
    await client.query(`SET idle_session_timeout = ${SILENCE_MS}`);
    this.#client = client;
    // One that fails is told as the connection's error.
    this.#heartbeat = setInterval(() => void client.query('SELECT 1').catch(() => undefined), HEARTBEAT_MS);
    return true;
  }

  /** PostgreSQL went away, and the lock with it. Nobody can lead while it is away. */
  async #regain(cause: Error): Promise<void> {
    this.#client = undefined;
    clearInterval(this.#heartbeat);
    this.#options.onInterrupted(cause);
    while (!this.#released) {
      try {
        const leads = await this.#tryLock();
        if (!leads && !this.#isReleased()) this.#options.onLost();
        return;
      } catch {
        // Still away.
        await delay(RECONNECT_MS);
      }
    }
  }

  #isReleased(): boolean {
    return this.#released;
  }

  /** Gives the lead up. */
  async release(): Promise<void> {
    this.#released = true;
    clearInterval(this.#heartbeat);
    const client = this.#client;
    this.#client = undefined;
    await client?.end();
  }
}
