import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { basename, dirname, join } from 'node:path';

/** Every test run has a folder of this name. Short, because Unix sockets go into it; /tmp, because TMPDIR may be long. */
export const RUN_FOLDER_PREFIX = '/tmp/wormhole-test-';

/** Time from the making of the folder until its host listens, generously. */
const START_UP_MS = 60_000;

/** Ends the processes and removes the folders of test runs whose server host was killed. */
export async function removeAbandonedRuns(): Promise<void> {
  const parent = dirname(RUN_FOLDER_PREFIX);
  for (const name of await readdir(parent)) {
    const folder = join(parent, name);
    if (!name.startsWith(basename(RUN_FOLDER_PREFIX)) || (await isInUse(folder))) continue;
    for (const { pid } of await processesOf(folder)) endProcess(pid);
    await rm(folder, { recursive: true, force: true });
  }
}

async function isInUse(folder: string): Promise<boolean> {
  if (await answers(join(folder, 'host.sock'))) return true;
  const made = await stat(folder).catch(() => undefined);
  return made === undefined || Date.now() - made.birthtimeMs < START_UP_MS;
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/**
 * @returns the live processes that have the folder on their command line or in their environment, as all have that
 * a test starts. Linux only: elsewhere none is found.
 */
export async function processesOf(folder: string): Promise<{ pid: number; command: string }[]> {
  if (process.platform !== 'linux') return [];
  const found: { pid: number; command: string }[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)) {
    // A process may end while it is looked at, and another user's environment cannot be read.
    const [command, environment] = await Promise.all(
      ['cmdline', 'environ'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')),
    );
    if (pid !== process.pid && `${command ?? ''}\0${environment ?? ''}`.includes(folder)) {
      found.push({ pid, command: (command ?? '').replaceAll('\0', ' ').trim() });
    }
  }
  return found;
}

/** Kills a process; one that is gone is success. */
export function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended in the meantime.
  }
}
