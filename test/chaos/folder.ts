import { chmod, mkdtemp, readdir, rm, rmdir, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Leases } from '../../controller/setup/leases.ts';
import { unmountBelow } from '../../controller/setup/mounts.ts';
import { endProcess, processesOf } from '../support/run-folder.ts';
import { processesInGroups } from './process-tree.ts';

/** Short, because Unix sockets lie in it. */
const PREFIX = 'whc-';
const ENGINE = 'e';
/** Time from the making of a folder until its lease is in it, generously. */
const START_UP_MS = 60_000;
const END_MS = 20_000;
const POLL_MS = 50;
const GROUPS = '/sys/fs/cgroup';

const leasesIn = (folder: string): Leases => new Leases(join(folder, 'leases'));

/** @returns the folder of the container engine in a suite's folder. */
export const engineFolder = (folder: string): string => join(folder, ENGINE);

/** Makes the folder that everything of one suite lies in. It is this process's: once that has ended, others may remove it. */
export async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), PREFIX));
  // PostgreSQL, started by root, runs as nobody, who must get through.
  await chmod(folder, 0o711);
  leasesIn(folder).take();
  return folder;
}

/**
 * Ends what still runs in a suite's folder, containers too, and removes it. No engine is needed for it, nor one that works:
 * a container is the processes of a control group, and mounts below the engine's folder.
 */
export async function removeFolder(folder: string): Promise<void> {
  const containers = await readdir(join(engineFolder(folder), 'data', 'containers')).catch(() => []);
  const giveUpAt = Date.now() + END_MS;
  for (;;) {
    const pids = [...(await processesOf(folder)).map(({ pid }) => pid), ...processesInGroups(containers)];
    if (pids.length === 0) break;
    if (Date.now() > giveUpAt) throw new Error(`processes of ${folder} do not end: ${pids.join(', ')}`);
    pids.forEach(endProcess);
    await delay(POLL_MS);
  }
  await unmountBelow(folder);
  await rm(folder, { recursive: true, force: true });
  await removeGroups(containers);
}

/** A killed engine leaves the control groups of its containers: `docker/<id>`, by controller where these are apart. */
async function removeGroups(containers: readonly string[]): Promise<void> {
  if (containers.length === 0) return;
  const controllers = await readdir(GROUPS);
  for (const parent of [GROUPS, ...controllers.map((name) => join(GROUPS, name))]) {
    // Most are not there.
    for (const id of containers) await rmdir(join(parent, 'docker', id)).catch(() => undefined);
  }
}

/** Removes the folders of suites whose process was killed. @returns them. */
export async function sweep(): Promise<string[]> {
  const removed: string[] = [];
  for (const name of await readdir(tmpdir())) {
    const folder = join(tmpdir(), name);
    if (!name.startsWith(PREFIX) || (await isInUse(folder))) continue;
    await removeFolder(folder);
    removed.push(folder);
  }
  return removed;
}

async function isInUse(folder: string): Promise<boolean> {
  const leased = await stat(join(folder, 'leases')).catch(() => undefined);
  if (leased !== undefined) return leasesIn(folder).live().length > 0;
  const made = await stat(folder).catch(() => undefined);
  return made === undefined || Date.now() - made.birthtimeMs < START_UP_MS;
}
