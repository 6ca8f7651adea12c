import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type Dockerode from 'dockerode';
import { LABELS, MANAGED_BY } from '../model/labels.ts';
import { findDemoFolders, isDemoInstance, removeDemoFolder, type DemoFolder } from './demo-folder.ts';

const run = promisify(execFile);

/** Processes that were asked to end get this long before they are killed. */
const END_MS = 5000;
const END_POLL_MS = 50;
const LINE_BYTES = 64 * 1024 * 1024;

/** What there is of one demo beside its folder. */
export interface Leftovers {
  readonly containers: readonly string[];
  readonly processes: readonly number[];
}

/** @returns the containers of a demo and its processes, but for this one. */
export async function findLeftovers(docker: Dockerode, folder: DemoFolder): Promise<Leftovers> {
  const [containers, processes] = await Promise.all([
    listContainers(docker, (instance) => instance === folder.instance),
    processesOf(folder),
  ]);
  return { containers: containers.map(({ Id }) => Id), processes };
}

/** Removes whatever there is of a demo: containers, processes, its folder. What is gone is success. */
export async function removeDemo(docker: Dockerode, folder: DemoFolder): Promise<void> {
  const containers = await listContainers(docker, (instance) => instance === folder.instance);
  await Promise.all(containers.map(({ Id }) => removeContainer(docker, Id)));
  await endProcesses(folder);
  removeDemoFolder(folder);
}

/**
 * Removes what demos that were killed have left.
 * @returns whether there was anything.
 */
export async function removeLeftovers(docker: Dockerode): Promise<boolean> {
  const containers = await listContainers(docker, isDemoInstance);
  const dead = (await findDemoFolders()).filter(({ isLive }) => !isLive);
  for (const folder of dead) await removeDemo(docker, folder);
  // Of a demo whose folder somebody removed: while it is there, its container has it mounted.
  const orphans = containers.filter(({ Mounts }) => Mounts.every(({ Source }) => !existsSync(Source)));
  await Promise.all(orphans.map(({ Id }) => removeContainer(docker, Id)));
  return dead.length + orphans.length > 0;
}

async function listContainers(
  docker: Dockerode,
  isWanted: (instance: string) => boolean,
): Promise<Dockerode.ContainerInfo[]> {
  const containers = await docker.listContainers({
    all: true,
    filters: { label: [`${LABELS.managedBy}=${MANAGED_BY}`, LABELS.instance] },
  });
  return containers.filter(({ Labels }) => isWanted(Labels[LABELS.instance] ?? ''));
}

async function removeContainer(docker: Dockerode, id: string): Promise<void> {
  try {
    await docker.getContainer(id).remove({ force: true, v: true });
  } catch (error) {
    // Gone, or somebody else is removing it.
    const { statusCode } = error as { statusCode?: number };
    if (statusCode !== 404 && statusCode !== 409) throw error;
  }
}

/** Ends what runs with the demo's name on its command line: PostgreSQL in its folder, the watchdog of its instance. */
async function endProcesses(folder: DemoFolder): Promise<void> {
  const giveUpAt = Date.now() + END_MS;
  for (const pid of await processesOf(folder)) signal(pid, 'SIGTERM');
  for (;;) {
    const processes = await processesOf(folder);
    if (processes.length === 0) return;
    if (Date.now() > giveUpAt) processes.forEach((pid) => signal(pid, 'SIGKILL'));
    await delay(END_POLL_MS);
  }
}

function signal(pid: number, name: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function processesOf(folder: DemoFolder): Promise<number[]> {
  const commands = process.platform === 'linux' ? await commandsFromProc() : await commandsFromPs();
  return commands
    .filter(({ pid, command }) => pid !== process.pid && command.includes(folder.instance))
    .map(({ pid }) => pid);
}

interface CommandLine {
  readonly pid: number;
  readonly command: string;
}

async function commandsFromProc(): Promise<CommandLine[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  return await Promise.all(
    pids.map(async (pid) => ({
      pid: Number(pid),
      // A process that has ended meanwhile has no command line.
      command: await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''),
    })),
  );
}

async function commandsFromPs(): Promise<CommandLine[]> {
  const { stdout } = await run('ps', ['-axww', '-o', 'pid=,command='], { maxBuffer: LINE_BYTES });
  return stdout.split('\n').map((line) => {
    const [, pid, command] = /^\s*(\d+)\s(.*)$/.exec(line) ?? [];
    return { pid: Number(pid), command: command ?? '' };
  });
}
