import { randomUUID } from 'node:crypto';
import { chmod, chown, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { WormholeError } from '../../errors.ts';
import { attemptName, type AttemptRef } from '../../model/ids.ts';

/** The sockets of a run, in its folder or folders. */
export const GATEWAY_SOCKET = 'gateway.sock';
export const EGRESS_SOCKET = 'egress.sock';

/** `sun_path` of a Unix socket holds 108 bytes, the closing NUL included (unix(7)). */
const SOCKET_PATH_BYTES = 107;
const LONGEST_SOCKET = join('x'.repeat(36 + '-999'.length), GATEWAY_SOCKET);

/** Who may get to the folders of the runs, and who may make sockets in one. */
const MODES = {
  /** This process alone. */
  own: { dir: 0o700, folder: 0o755 },
  /** Processes of other users who are in this one's group. */
  shared: { dir: 0o750, folder: 0o775 },
} as const;

export interface RunFoldersOptions {
  /**
   * Where each run has a second folder, for its egress socket: gateway and egress proxy are then processes of their own,
   * of other users in this one's group, and the proxy sees no claim token and no socket of the gateway.
   * @default - both sockets are in the run's one folder, and made by this process
   */
  readonly egressDir?: string;
}

/**
 * The per-run folders: what a run's container has mounted, read-only, at `/run/wormhole`.
 * The folder that holds them is closed to everybody else on the host, so neither the sockets nor the claim
 * tokens in them need an owner that is the same inside and outside of the container; they are readable there
 * whatever user namespace the engine uses.
 */
export class RunFolders {
  readonly #dir: string;
  readonly #egressDir: string | undefined;

  /** @throws {WormholeError} CONFIG_INVALID when a socket below `dir` would have too long a path. */
  constructor(dir: string, { egressDir }: RunFoldersOptions = {}) {
    const length = Buffer.byteLength(join(dir, LONGEST_SOCKET));
    if (length > SOCKET_PATH_BYTES) {
      throw new WormholeError(
        'CONFIG_INVALID',
        `runDir "${dir}" is ${length - SOCKET_PATH_BYTES} bytes too long for Unix sockets below it: choose a shorter one`,
      );
    }
    this.#dir = dir;
    this.#egressDir = egressDir;
  }

  /** @returns the attempt's folder, which need not exist. */
  pathOf(ref: AttemptRef): string {
    return join(this.#dir, attemptName(ref));
  }

  /** @returns the folder of the attempt's egress socket, if it has one of its own. */
  egressPathOf(ref: AttemptRef): string | undefined {
    return this.#egressDir && join(this.#egressDir, attemptName(ref));
  }

  /** Makes the attempt's folder with the claim token in it. What is there already is replaced. */
  async create(ref: AttemptRef, claimToken: string): Promise<string> {
    const folder = this.pathOf(ref);
    await this.#makeDirs();
    await Promise.all(this.#dirs.map((dir) => makeFolder(join(dir, attemptName(ref)), this.#modes.folder)));
    // Renamed into place: a container that is there already never reads half a token.
    const written = join(folder, randomUUID());
    await using file = await open(written, 'wx');
    await file.writeFile(claimToken);
    await file.chmod(0o444);
    await rename(written, join(folder, 'claim-token'));
    return folder;
  }

  /** @returns whether the attempt's folder is there. */
  async exists(ref: AttemptRef): Promise<boolean> {
    return (await stat(this.pathOf(ref)).catch(ignoreMissing)) !== undefined;
  }

  /** Removes the attempt's folder. One that is gone is success. */
  async remove(ref: AttemptRef): Promise<void> {
    await Promise.all(this.#dirs.map((dir) => removeFolder(join(dir, attemptName(ref)))));
  }

  /**
   * Removes folders that were made more than `minAgeMs` ago and whose name is not in `keep`: what a controller
   * left that died before it created the container.
   * @returns the names of the removed folders.
   */
  async removeOrphans(keep: ReadonlySet<string>, minAgeMs: number): Promise<string[]> {
    await this.#makeDirs();
    const removed = new Set<string>();
    for (const dir of this.#dirs) {
      for (const name of (await readdir(dir)).filter((n) => !keep.has(n))) {
        const folder = join(dir, name);
        const made = await stat(folder).catch(ignoreMissing);
        if (made === undefined || Date.now() - made.birthtimeMs < minAgeMs) continue;
        await removeFolder(folder);
        removed.add(name);
      }
    }
    return [...removed];
  }

  get #dirs(): readonly string[] {
    return this.#egressDir === undefined ? [this.#dir] : [this.#dir, this.#egressDir];
  }

  get #modes() {
    return this.#egressDir === undefined ? MODES.own : MODES.shared;
  }

  async #makeDirs(): Promise<void> {
    for (const dir of this.#dirs) {
      await makeFolder(dir, this.#modes.dir);
      // An engine that found no folder to mount has made it with a group of its own.
      if (this.#egressDir !== undefined) await chown(dir, ...ownIds());
    }
  }
}

/** The process's umask may take away what others need, so the mode is set once more. */
async function makeFolder(path: string, mode: number): Promise<void> {
  await mkdir(path, { recursive: true, mode });
  await chmod(path, mode);
}

/** Tried again when somebody makes a socket in it at that moment, who closes it again once the folder is gone. */
const removeFolder = (path: string): Promise<void> =>
  rm(path, { recursive: true, force: true, maxRetries: 3 });

/** Folders are shared between processes on Linux only, where these functions exist. */
const ownIds = (): [uid: number, gid: number] => [process.getuid?.() ?? 0, process.getgid?.() ?? 0];

const ignoreMissing = (error: unknown): undefined => {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
  throw error;
};
