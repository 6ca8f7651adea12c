import { randomUUID } from 'node:crypto';
import { chmod, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { WormholeError } from '../../errors.ts';
import { attemptName, type AttemptRef } from '../../model/ids.ts';

/** `sun_path` of a Unix socket holds 108 bytes, the closing NUL included (unix(7)). */
const SOCKET_PATH_BYTES = 107;
const LONGEST_SOCKET = join('x'.repeat(36 + '-999'.length), 'gateway.sock');

/**
 * The per-run folders: what a run's container has mounted, read-only, at `/run/wormhole`.
 * The folder that holds them is closed to everybody else on the host (0700), so neither the sockets nor the claim
 * tokens in them need an owner that is the same inside and outside of the container; they are readable there
 * whatever user namespace the engine uses.
 */
export class RunFolders {
  readonly #dir: string;

  /** @throws {WormholeError} CONFIG_INVALID when a socket below `dir` would have too long a path. */
  constructor(dir: string) {
    const length = Buffer.byteLength(join(dir, LONGEST_SOCKET));
    if (length > SOCKET_PATH_BYTES) {
      throw new WormholeError(
        'CONFIG_INVALID',
        `runDir "${dir}" is ${length - SOCKET_PATH_BYTES} bytes too long for Unix sockets below it: choose a shorter one`,
      );
    }
    this.#dir = dir;
  }

  /** @returns the attempt's folder, which need not exist. */
  pathOf(ref: AttemptRef): string {
    return join(this.#dir, attemptName(ref));
  }

  /** Makes the attempt's folder with the claim token in it. What is there already is replaced. */
  async create(ref: AttemptRef, claimToken: string): Promise<string> {
    const folder = this.pathOf(ref);
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    await mkdir(folder, { recursive: true, mode: 0o755 });
    // The process's umask may have taken away what the container's user needs.
    await Promise.all([chmod(this.#dir, 0o700), chmod(folder, 0o755)]);
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
    await rm(this.pathOf(ref), { recursive: true, force: true });
  }

  /**
   * Removes folders that were made more than `minAgeMs` ago and whose name is not in `keep`: what a controller
   * left that died before it created the container.
   * @returns the names of the removed folders.
   */
  async removeOrphans(keep: ReadonlySet<string>, minAgeMs: number): Promise<string[]> {
    const names = (await readdir(this.#dir).catch(ignoreMissing)) ?? [];
    const removed: string[] = [];
    for (const name of names.filter((n) => !keep.has(n))) {
      const folder = join(this.#dir, name);
      const made = await stat(folder).catch(ignoreMissing);
      if (made === undefined || Date.now() - made.birthtimeMs < minAgeMs) continue;
      await rm(folder, { recursive: true, force: true });
      removed.push(name);
    }
    return removed;
  }
}

const ignoreMissing = (error: unknown): undefined => {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
  throw error;
};
