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
import { commandOf } from '../setup/process-command.ts';

const PREFIX = 'wormhole-demo-';
const OWNER_FILE = 'demo.json';
/** Unix sockets lie in it: their whole path must stay under 104 bytes. */
const LONGEST_TMPDIR = 30;

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
  const owner = { pid: process.pid, program: await commandOf(process.pid) };
  writeFileSync(join(path, OWNER_FILE), JSON.stringify(owner), { mode: 0o600 });
  return { path, instance: `demo-${id}` };
}

/** @returns the folders of this user's demos, each with whether its demo still runs. */
export async function findDemoFolders(): Promise<(DemoFolder & { readonly isLive: boolean })[]> {
  const root = temporaryRoot();
  const folders = readdirSync(root)
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => ({ path: join(root, name), instance: `demo-${name.slice(PREFIX.length)}` }))
    .filter(({ path, instance }) => isDemoInstance(instance) && isOurs(path));
  return await Promise.all(
    folders.map(async (folder) => ({ ...folder, isLive: await ownerLives(folder.path) })),
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

async function ownerLives(path: string): Promise<boolean> {
  try {
    const owner = JSON.parse(readFileSync(join(path, OWNER_FILE), 'utf8')) as {
      pid: number;
      program: string;
    };
    return (await commandOf(owner.pid)) === owner.program;
  } catch {
    // Killed while it made the folder.
    return false;
  }
}
