import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, chown, lstat, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { messageOf, WormholeError } from '../errors.ts';
import { assertReachable, serverAccount, type ServerAccount } from './postgres-account.ts';
import { installPostgresBinaries, type PostgresBinaries } from './postgres-binaries.ts';
import {
  accessConfig,
  PEER_MAP,
  ROLE,
  serverConfig,
  SOCKET_PORT,
  type NetworkAddress,
} from './postgres-config.ts';
import { commandOf } from './process-command.ts';

export interface EmbeddedPostgresOptions {
  /** Folder of this server alone: data, socket and log. Made when it is missing. */
  readonly dir: string;
  /** Where the binaries are copied to, once for each version. */
  readonly cacheDir: string;
  /** Told what takes time, a line each. */
  readonly log: (message: string) => void;
  /**
   * Whether committed data survives a power failure.
   * @default true; false is faster, for tests and demonstrations
   */
  readonly durable?: boolean;
  /**
   * Where it listens for containers of this machine, on a free port and with a password made anew.
   * @default - on its socket only
   */
  readonly listenAddress?: string;
}

/** A running PostgreSQL server of our own, on a Unix socket that only the user who started it can open. */
export interface EmbeddedPostgres {
  /** How to connect, for `pg`: a superuser, and the database that always exists. */
  readonly connection: {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly database: string;
  };
  /** The same as a URL. */
  readonly url: string;
  /** A URL with a password for those who come over the network; present exactly with `listenAddress`. */
  readonly networkUrl?: string;
  /** Ends all sessions and stops the server. A server that is gone is success. */
  stop(): Promise<void>;
}

const DATABASE = 'postgres';
/** The kernel's limit is 107 bytes on Linux, 103 on macOS (unix(7), sockaddr_un). */
const MAX_SOCKET_PATH_BYTES = 100;
const LONGEST_SOCKET_NAME = '.s.PGSQL.65535';
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 60_000;
const READY_POLL_MS = 50;
/** PostgreSQL's SQLSTATE while it starts, recovers or stops. */
const CANNOT_CONNECT_NOW = '57P03';

/**
 * Starts the PostgreSQL server of a folder, or takes over the one that a killed process left running there. It is
 * in a session of its own: Ctrl-C in the terminal does not reach it, and it runs until `stop`.
 * One process at a time may use a folder.
 * @throws {WormholeError} `CONFIG_INVALID` for a folder that cannot be used, `DATABASE_UNAVAILABLE` when the server
 * does not start.
 */
export async function startPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const account = await serverAccount();
  const binaries = await installPostgresBinaries(options.cacheDir, options.log);
  await mkdir(options.dir, { recursive: true });
  if (account !== undefined) {
    await assertReachable(options.cacheDir, account);
    await assertReachable(dirname(options.dir), account);
  }
  await giveTo(options.dir, account);
  await chmod(options.dir, 0o700);
  const listen =
    options.listenAddress === undefined
      ? undefined
      : { address: options.listenAddress, port: await freePort(options.listenAddress) };
  const socketDir = await socketFolder(options.dir, account);
  const server = new Server({ dir: options.dir, socketDir, binaries, account, listen });
  await server.initialise(options.log);
  // The port of one that runs already is its own.
  if (listen !== undefined) await server.shutDown();
  if (await server.isRunning()) {
    options.log(`taking over the PostgreSQL that still runs in ${options.dir}`);
  } else {
    await server.start(options.durable ?? true);
  }
  await server.waitUntilReady();
  const { host, port } = server.connection;
  return {
    connection: server.connection,
    url: `postgresql://${ROLE}@localhost:${port}/${DATABASE}?host=${encodeURIComponent(host)}`,
    ...(listen && { networkUrl: await openToNetwork(server, listen) }),
    stop: () => server.stop(),
  };
}

/** One server folder and what is done with it. */
class Server {
  readonly connection: EmbeddedPostgres['connection'];
  readonly #dir: string;
  readonly #data: string;
  readonly #pidFile: string;
  readonly #logFile: string;
  readonly #binaries: PostgresBinaries;
  readonly #account: ServerAccount | undefined;
  readonly #listen: NetworkAddress | undefined;

  constructor(options: {
    readonly dir: string;
    readonly socketDir: string;
    readonly binaries: PostgresBinaries;
    readonly account: ServerAccount | undefined;
    readonly listen: NetworkAddress | undefined;
  }) {
    const { dir, socketDir, listen } = options;
    this.connection = {
      host: socketDir,
      port: listen?.port ?? SOCKET_PORT,
      user: ROLE,
      database: DATABASE,
    };
    this.#dir = dir;
    this.#data = join(dir, 'data');
    this.#pidFile = join(this.#data, 'postmaster.pid');
    this.#logFile = join(dir, 'postgres.log');
    this.#binaries = options.binaries;
    this.#account = options.account;
    this.#listen = listen;
  }

  /** Makes the data folder, unless there is one. A folder with its final name is always whole. */
  async initialise(log: (message: string) => void): Promise<void> {
    const version = await readIfPresent(join(this.#data, 'PG_VERSION'));
    if (version === undefined) {
      log(`making a new PostgreSQL database in ${this.#dir}`);
      const partial = `${this.#data}.new`;
      await rm(partial, { recursive: true, force: true });
      await this.#run(this.#binaries.initdb, [
        `--pgdata=${partial}`,
        `--username=${ROLE}`,
        '--encoding=UTF8',
        '--locale=C',
        '--locale-provider=builtin',
        '--builtin-locale=C.UTF-8',
        '--auth=peer',
        '--no-instructions',
      ]);
      await rename(partial, this.#data);
    } else if (version.trim() !== this.#binaries.major) {
      throw new WormholeError(
        'DATABASE_UNAVAILABLE',
        `${this.#data} belongs to PostgreSQL ${version.trim()}, but this version of wormhole brings PostgreSQL ` +
          `${this.#binaries.major}: dump it with the old version and load it with this one, or move the folder away`,
      );
    }
  }

  /** @returns whether the process that the lock file names is a PostgreSQL server; process ids are used again. */
  async isRunning(): Promise<boolean> {
    const lock = await readIfPresent(this.#pidFile);
    if (lock === undefined) return false;
    const command = await commandOf(Number.parseInt(lock, 10));
    return command === 'postgres';
  }

  async start(durable: boolean): Promise<void> {
    // PostgreSQL itself refuses to start when another program now has the process id in an old lock file.
    const { host, port } = this.connection;
    const socket = join(host, `.s.PGSQL.${port}`);
    await Promise.all([this.#pidFile, socket, `${socket}.lock`].map((path) => rm(path, { force: true })));
    await Promise.all([
      this.#write('postgresql.conf', serverConfig({ socketDir: host, durable, listen: this.#listen })),
      this.#write('pg_hba.conf', accessConfig(this.#listen)),
      this.#write('pg_ident.conf', `${PEER_MAP} "${userInfo().username}" ${ROLE}\n`),
    ]);
    await this.#pgCtl('start', START_TIMEOUT_MS, [`--log=${this.#logFile}`]);
  }

  /** A server that was taken over may be starting, or recovering from a crash. */
  async waitUntilReady(): Promise<void> {
    const giveUpAt = Date.now() + START_TIMEOUT_MS;
    for (;;) {
      const client = new pg.Client(this.connection);
      try {
        await client.connect();
        await client.end();
        return;
      } catch (error) {
        const isStarting = error instanceof pg.DatabaseError && error.code === CANNOT_CONNECT_NOW;
        if (!isStarting || Date.now() > giveUpAt) {
          throw new WormholeError(
            'DATABASE_UNAVAILABLE',
            `the PostgreSQL in ${this.#dir} does not answer: ${messageOf(error)}; its log is ${this.#logFile}`,
            { cause: error },
          );
        }
      }
      await sleep(READY_POLL_MS);
    }
  }

  async stop(): Promise<void> {
    await this.shutDown();
    if (this.connection.host !== this.#dir) await rm(this.connection.host, { recursive: true, force: true });
  }

  async shutDown(): Promise<void> {
    try {
      if (await this.isRunning()) await this.#pgCtl('stop', STOP_TIMEOUT_MS, ['--mode=fast']);
    } catch (error) {
      // Somebody else may have stopped it first.
      if (await this.isRunning()) throw error;
    }
  }

  async #pgCtl(command: string, timeoutMs: number, args: readonly string[]): Promise<void> {
    const timeout = `--timeout=${timeoutMs / 1000}`;
    await this.#run(this.#binaries.pgCtl, [command, '--wait', timeout, `--pgdata=${this.#data}`, ...args]);
  }

  async #write(file: string, text: string): Promise<void> {
    const path = join(this.#data, file);
    await writeFile(path, text);
    await giveTo(path, this.#account);
  }

  /** Runs a program of PostgreSQL as the server's user, in a session of its own. */
  #run(program: string, args: readonly string[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const child = spawn(program, args, {
        cwd: this.#dir,
        env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
        stdio: ['ignore', 'pipe', 'pipe'],
        detached: true,
        ...this.#account,
      });
      let output = '';
      child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
      child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
      const fail = (why: string, cause?: unknown): void => {
        const log = `its log is ${this.#logFile}`;
        reject(new WormholeError('DATABASE_UNAVAILABLE', `${program} failed: ${why}; ${log}`, { cause }));
      };
      child.on('error', (error) => fail(error.message, error));
      child.on('close', (code, signal) => {
        if (code === 0) resolve();
        else fail(`${signal ?? `exit code ${code ?? 'unknown'}`}: ${lastLines(output)}`);
      });
    });
  }
}

/** Gives the role a new password. @returns how to connect with it. */
async function openToNetwork(server: Server, { address, port }: NetworkAddress): Promise<string> {
  const password = randomBytes(24).toString('base64url');
  const client = new pg.Client(server.connection);
  await client.connect();
  try {
    await client.query(`ALTER ROLE ${ROLE} PASSWORD ${client.escapeLiteral(password)}`);
  } finally {
    await client.end();
  }
  return `postgresql://${ROLE}:${password}@${address}:${port}/${DATABASE}`;
}

async function freePort(address: string): Promise<number> {
  const server = createServer().listen(0, address);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function giveTo(path: string, account: ServerAccount | undefined): Promise<void> {
  if (account !== undefined) await chown(path, account.uid, account.gid);
}

/** @returns the folder for the socket: the server's own, unless its path is too long for a socket's address. */
async function socketFolder(dir: string, account: ServerAccount | undefined): Promise<string> {
  if (Buffer.byteLength(join(dir, LONGEST_SOCKET_NAME)) <= MAX_SOCKET_PATH_BYTES) return dir;
  const short = `/tmp/wormhole-pg-${createHash('sha256').update(dir).digest('hex').slice(0, 16)}`;
  const made = await mkdir(short, { recursive: true, mode: 0o700 });
  if (made !== undefined) await giveTo(short, account);
  // Everybody may write to /tmp: the folder could be somebody else's, or a link.
  const { mode, uid } = await lstat(short);
  if (uid !== (account?.uid ?? userInfo().uid) || (mode & 0o777) !== 0o700) {
    throw new WormholeError(
      'CONFIG_INVALID',
      `${short} is not a private folder of ours: remove it and try again`,
    );
  }
  return short;
}

async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

const lastLines = (text: string): string => text.trim().split('\n').slice(-5).join(' | ');
