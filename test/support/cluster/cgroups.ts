import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const REMOVE_MS = 5000;
const POLL_MS = 50;

/** @returns where this machine's hierarchies of cgroups are mounted: many with version 1, one with version 2. */
function hierarchies(): string[] {
  if (!existsSync('/proc/self/mounts')) return [];
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, , type]) => type === 'cgroup' || type === 'cgroup2')
    .map(([, path]) => path ?? '');
}

/** Makes a cgroup of this name in every hierarchy. */
export function makeCgroups(name: string): void {
  for (const hierarchy of hierarchies()) mkdirSync(join(hierarchy, name), { recursive: true });
}

/** Removes the cgroups of this name and all below; their processes have ended or are about to. */
export async function removeCgroups(name: string): Promise<void> {
  const giveUpAt = Date.now() + REMOVE_MS;
  for (const hierarchy of hierarchies()) {
    const folder = join(hierarchy, name);
    while (existsSync(folder)) {
      try {
        removeTree(folder);
      } catch (error) {
        if (Date.now() > giveUpAt) throw error;
        // EBUSY: the kernel still counts a process in it that was killed.
        await sleep(POLL_MS);
      }
    }
  }
}

function removeTree(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(folder, entry.name));
  }
  rmdirSync(folder);
}
