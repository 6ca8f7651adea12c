import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { commandOf } from '../setup/process-command.ts';

const PREFIX = 'wormhole-demo-';
const OWNER_FILE = 'demo.json';
/** Unix sockets lie in it: their whole path must stay under 104 bytes. */
const LONGEST_TMPDIR = 20;

const ownerSchema = z.object({ pid: z.int().positive(), program: z.string() });

/** The folder of one demo: everything it writes, but for caches. */
export interface DemoFolder {
  readonly path: string;
  /** The demo's instance name, on every container of it. */
  readonly instance: string;
}

/** Demo instances start with this, and no other's may be taken for one. */
export const isDemoInstance = (instance: string): boolean => /^demo-[0-9a-f]{8}$/.test(instance);

function temporaryRoot(): string {
  const path = tmpdir();
  return path.length <= LONGEST_TMPDIR || !existsSync('/tmp') ? path : '/tmp';
}

/** Makes the folder of a new demo. */
export async function makeDemoFolder(): Promise<DemoFolder> {
  const id = randomBytes(4).toString('hex');
  const path = join(temporaryRoot(), `${PREFIX}${id}`);
  mkdirSync(path);
  // The embedded PostgreSQL runs as another user, who must get through but not look around.
  chmodSync(path, 0o711);
  const owner: z.infer<typeof ownerSchema> = {
    pid: process.pid,
    program: (await commandOf(process.pid)) ?? '',
  };
  writeFileSync(join(path, OWNER_FILE), JSON.stringify(owner), { mode: 0o600 });
  return { path, instance: `demo-${id}` };
}

/** The folder of a demo that this process did not make. */
export interface FoundDemoFolder extends DemoFolder {
  /** The process that made it; undefined when it was killed before it could say. */
  readonly pid: number | undefined;
  /** Whether that process still runs. */
  readonly isLive: boolean;
}

/** @returns the folders of this user's demos. */
export async function findDemoFolders(): Promise<FoundDemoFolder[]> {
  const root = temporaryRoot();
  const folders = readdirSync(root)
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => ({ path: join(root, name), instance: `demo-${name.slice(PREFIX.length)}` }))
    .filter(({ path, instance }) => isDemoInstance(instance) && isOurs(path));
  return await Promise.all(
    folders.map(async (folder) => {
      const owner = readOwner(folder.path);
      const isLive = owner !== undefined && (await commandOf(owner.pid)) === owner.program;
      return { ...folder, pid: owner?.pid, isLive };
    }),
  );
}

/** Removes the folder and everything in it. */
export const removeDemoFolder = (folder: DemoFolder): void =>
  rmSync(folder.path, { recursive: true, force: true });

/** Everybody may write to the temporary folder: a folder of somebody else, or a link, is none of ours. */
function isOurs(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat?.isDirectory() === true && stat.uid === process.getuid?.();
}

function readOwner(path: string): z.infer<typeof ownerSchema> | undefined {
  try {
    return ownerSchema.parse(JSON.parse(readFileSync(join(path, OWNER_FILE), 'utf8')));
  } catch {
    // Killed while it made the folder.
    return undefined;
  }
}
