import { chmod, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Leases } from '../../controller/setup/leases.ts';
import { endProcess, processesOf } from '../support/run-folder.ts';
import { SecondEngine } from '../support/second-engine.ts';

/** Short, because Unix sockets lie in it. */
const PREFIX = 'whc-';
const ENGINE = 'e';
/** Time from the making of a folder until its lease is in it, generously. */
const START_UP_MS = 60_000;

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

/** Ends what still runs in a suite's folder, containers first, and removes it. */
export async function removeFolder(folder: string): Promise<void> {
  for (const { pid } of await processesOf(folder)) endProcess(pid);
  const hasEngine = await stat(join(engineFolder(folder), 'data')).then(
    () => true,
    () => false,
  );
  // Its containers live on without it, and only an engine knows how to end them.
  if (hasEngine) await new SecondEngine(engineFolder(folder)).dispose();
  await rm(folder, { recursive: true, force: true });
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
