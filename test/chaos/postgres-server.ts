import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startPostgres, type EmbeddedPostgres } from '../../controller/setup/postgres.ts';
import { childrenOf, isLive, killProcess } from './process-tree.ts';

const ORPHANS_MS = 10_000;
const POLL_MS = 20;

/** A PostgreSQL that is killed and started again. */
export class PostgresServer {
  readonly #folder: string;
  readonly #cacheDir: string;
  #server: EmbeddedPostgres;

  private constructor(folder: string, cacheDir: string, server: EmbeddedPostgres) {
    this.#folder = folder;
    this.#cacheDir = cacheDir;
    this.#server = server;
  }

  /** @param folder of this server alone; made. */
  static async start(folder: string, cacheDir: string): Promise<PostgresServer> {
    return new PostgresServer(folder, cacheDir, await start(folder, cacheDir));
  }

  get url(): string {
    return this.#server.url;
  }

  /** The server's log. */
  get logFile(): string {
    return join(this.#folder, 'postgres.log');
  }

  /** Starts it again; it recovers from its write-ahead log. */
  async up(): Promise<void> {
    this.#server = await start(this.#folder, this.#cacheDir);
  }

  /** SIGKILL to the postmaster, and waits until its orphans are gone too, as a service manager does before a restart. */
  async kill(): Promise<void> {
    const lock = await readFile(join(this.#folder, 'data', 'postmaster.pid'), 'utf8');
    const postmaster = Number.parseInt(lock, 10);
    const orphans = childrenOf(postmaster);
    killProcess(postmaster);
    const giveUpAt = Date.now() + ORPHANS_MS;
    while ([postmaster, ...orphans].some(isLive)) {
      if (Date.now() > giveUpAt) orphans.forEach(killProcess);
      await delay(POLL_MS);
    }
  }

  /** Stops it in order. */
  async stop(): Promise<void> {
    await this.#server.stop();
  }
}

/** Nothing here loses power, so nothing needs to wait for the disk. */
const start = (dir: string, cacheDir: string): Promise<EmbeddedPostgres> =>
  startPostgres({ dir, cacheDir, log: () => undefined, durable: false });
