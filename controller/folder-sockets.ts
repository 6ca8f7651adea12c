import { watch, type FSWatcher } from 'node:fs';
import { lstat, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { messageOf } from './errors.ts';
import { parseAttemptName, type AttemptRef } from './model/ids.ts';

/** For what no event told: the folder was replaced, or more happened at once than the kernel keeps. */
const SCAN_MS = 2_000;

export interface FolderSocketsOptions {
  /** Where each attempt has a folder. It need not exist yet. */
  readonly dir: string;
  /** The name of the socket in each of them. */
  readonly file: string;
  /** Listens for one attempt. @returns what closes it. */
  readonly listen: (socketPath: string, ref: AttemptRef) => Promise<() => Promise<void>>;
  readonly log: Logger;
}

interface OpenSocket {
  /** Which folder it is in: another attempt at the same start gets another folder of the same name. */
  readonly folder: string;
  readonly close: () => Promise<void>;
}

/**
 * Listens on one socket in the folder of every attempt: the controller makes the folder, and that is all it takes; a socket is
 * closed when its folder goes. So whoever listens may be started again at any time, and finds what to serve by itself.
 * Only the controller can make folders here, and what is not a folder with an attempt's name is left alone.
 */
export class FolderSockets {
  readonly #options: FolderSocketsOptions;
  readonly #open = new Map<string, OpenSocket>();
  /** The last thing that is done for each name: one at a time. */
  readonly #turns = new Map<string, Promise<void>>();
  #watcher: FSWatcher | undefined;
  #watched: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failure: string | undefined = 'the run folders were not looked at yet';
  #isClosed = false;

  private constructor(options: FolderSocketsOptions) {
    this.#options = options;
  }

  /** Opens the sockets of the attempts that there are, and from then on of those that come. */
  static async start(options: FolderSocketsOptions): Promise<FolderSockets> {
    const sockets = new FolderSockets(options);
    await sockets.#scan();
    return sockets;
  }

  /** @returns why runs cannot be served, or nothing. */
  reasons(): readonly string[] {
    return this.#failure === undefined ? [] : [this.#failure];
  }

  /** Closes all sockets. The folders stay as they are: whoever comes next serves them. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#watcher?.close();
    await Promise.all(this.#turns.values());
    await Promise.all([...this.#open.values()].map(({ close }) => close()));
    this.#open.clear();
  }

  async #scan(): Promise<void> {
    const { dir, log } = this.#options;
    try {
      await this.#watch();
      const names = new Set([...(await readdir(dir)), ...this.#open.keys()]);
      await Promise.all([...names].map((name) => this.#look(name)));
      this.#failure = undefined;
    } catch (error) {
      this.#failure = `the run folders in ${dir} cannot be read; the controller that leads makes them`;
      log.warn({ dir, error: messageOf(error) }, 'cannot read the run folders; trying again');
    }
    if (!this.#isClosed) this.#timer = setTimeout(() => void this.#scan(), SCAN_MS);
  }

  /** Watches the folder, and again when it has become another one. */
  async #watch(): Promise<void> {
    const { dir } = this.#options;
    const { ino } = await stat(dir);
    if (this.#watched === ino || this.#isClosed) return;
    this.#watcher?.close();
    this.#watched = undefined;
    this.#watcher = watch(dir, (_event, name) => {
      if (name !== null) void this.#look(name);
    }).on('error', () => (this.#watched = undefined));
    this.#watched = ino;
  }

  async #look(name: string): Promise<void> {
    const ref = parseAttemptName(name);
    if (ref === undefined) return;
    const turn = (this.#turns.get(name) ?? Promise.resolve()).then(() => this.#settle(name, ref));
    this.#turns.set(name, turn);
    await turn;
    if (this.#turns.get(name) === turn) this.#turns.delete(name);
  }

  /** Makes the socket what the folder says now. Never throws: a folder that cannot be used must not keep others waiting. */
  async #settle(name: string, ref: AttemptRef): Promise<void> {
    const { dir, file, listen, log } = this.#options;
    const path = join(dir, name, file);
    try {
      const folder = await folderId(join(dir, name));
      const open = this.#open.get(name);
      if (open?.folder === folder && (open === undefined || (await isSocket(path)))) return;
      this.#open.delete(name);
      await open?.close();
      if (folder === undefined || this.#isClosed) return;
      this.#open.set(name, { folder, close: await listen(path, ref) });
    } catch (error) {
      // A folder that is just being made or removed: the next event or the next scan tells.
      log.debug({ path, error: messageOf(error) }, 'cannot open the socket of an attempt yet');
    }
  }
}

/** @returns what tells this folder from another one of the same name; undefined when it is none, or not there. */
async function folderId(path: string): Promise<string | undefined> {
  const found = await lstat(path, { bigint: true }).catch(() => undefined);
  return found?.isDirectory() === true ? `${found.ino} ${found.birthtimeNs}` : undefined;
}

const isSocket = (path: string): Promise<boolean> =>
  lstat(path).then(
    (found) => found.isSocket(),
    () => false,
  );
