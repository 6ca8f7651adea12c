import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { basename, dirname, join } from 'node:path';

/** Every test run has a folder of this name. Short, because Unix sockets go into it; /tmp, because TMPDIR may be long. */
export const RUN_FOLDER_PREFIX = '/tmp/wormhole-test-';

/** Time from the making of the folder until its host listens, generously. */
const START_UP_MS = 60_000;
/** What programs that tests run keep for the next time. */
const CACHES = /^(?:tsx-\d+|node-compile-cache|go-build.*)$/;
/** Vitest's own processes, by what they call themselves. */
const TEST_RUNNER = /^vitest|vitest\/dist\/workers/;

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

/** @returns what the tests of a run left: files in its folder for temporary files, and processes, a line each. */
export async function leftoversOf(folder: string): Promise<string[]> {
  const files = (await readdir(join(folder, 'tmp'))).filter((name) => !CACHES.test(name));
  const processes = (await processesOf(join(folder, 'tmp'))).filter(
    ({ command }) => !TEST_RUNNER.test(command),
  );
  for (const { pid } of processes) endProcess(pid);
  return [
    ...files.map((name) => `temporary file ${name}`),
    ...processes.map(({ pid, command }) => `process ${pid}: ${command.slice(0, 200)}`),
  ];
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
async function processesOf(folder: string): Promise<{ pid: number; command: string }[]> {
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

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended in the meantime.
  }
}
