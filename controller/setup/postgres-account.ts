import { execFile } from 'node:child_process';
import { realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { WormholeError } from '../errors.ts';

/** The operating system's user that the server runs as. */
export interface ServerAccount {
  readonly uid: number;
  readonly gid: number;
}

const run = promisify(execFile);
const UNPRIVILEGED = 'nobody';

/** @returns `nobody` for root, whom PostgreSQL refuses to run as; for everybody else undefined: the user itself. */
export async function serverAccount(): Promise<ServerAccount | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const [uid, gid] = await Promise.all([run('id', ['-u', UNPRIVILEGED]), run('id', ['-g', UNPRIVILEGED])]);
  return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
}

/**
 * Checks that the account can reach a folder.
 * @throws {WormholeError} `CONFIG_INVALID` naming the first folder on the way that is closed to it.
 */
export async function assertReachable(folder: string, account: ServerAccount): Promise<void> {
  for (const step of withParents(await realpath(folder))) {
    const { mode, uid, gid } = await stat(step);
    const searchBit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
    if ((mode & searchBit) === 0) {
      throw new WormholeError(
        'CONFIG_INVALID',
        `${folder} cannot be used: the embedded PostgreSQL of root runs as "${UNPRIVILEGED}", to whom ${step} is ` +
          'closed. Choose a folder elsewhere (WORMHOLE_STATE_DIR, WORMHOLE_CACHE_DIR), open this one with ' +
          `"chmod o+x ${step}", or run as another user`,
      );
    }
  }
}

function withParents(folder: string): string[] {
  const parent = dirname(folder);
  return parent === folder ? [folder] : [...withParents(parent), folder];
}
