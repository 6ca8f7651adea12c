import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { pack, type Headers } from 'tar-fs';

const RUNNER = fileURLToPath(new URL('../../runner', import.meta.url));
/** What of `runner/` the image is made of. */
const ENTRIES = ['image', 'pyproject.toml', 'requirements.lock', 'src'];

/** The packages that the image gets, with their hashes. */
export const LOCK_FILE = join(RUNNER, 'requirements.lock');

/** @returns the runner's version. */
export function runnerVersion(): string {
  const match = /^version = "([^"]+)"$/m.exec(readFileSync(join(RUNNER, 'pyproject.toml'), 'utf8'));
  if (match?.[1] === undefined) throw new Error('runner/pyproject.toml states no version');
  return match[1];
}

/** @returns a hash over the names and contents of all that the image is made of, but for base and wheels. */
export function sourceHash(): string {
  const hash = createHash('sha256');
  for (const file of ENTRIES.flatMap((entry) => filesBelow(entry)).sort()) {
    const content = readFileSync(join(RUNNER, file));
    hash.update(`${file}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

/** @returns the context of the image's build as a tar stream: the runner's sources and the downloaded wheels. */
export function buildContext(wheels: string): Readable {
  const context = pack(RUNNER, {
    entries: ENTRIES,
    ignore: isByproduct,
    map: normalise,
    finalize: false,
    finish: (archive) => {
      pack(wheels, {
        pack: archive,
        map: (header) => normalise({ ...header, name: `wheels/${header.name}` }),
      });
    },
  });
  return Readable.from(context);
}

function filesBelow(path: string): string[] {
  if (isByproduct(path)) return [];
  if (!statSync(join(RUNNER, path)).isDirectory()) return [path];
  return readdirSync(join(RUNNER, path)).flatMap((name) => filesBelow(join(path, name)));
}

/** What Python and packaging tools leave in a source folder. */
function isByproduct(path: string): boolean {
  const name = basename(path);
  return name === '__pycache__' || name.endsWith('.egg-info') || name.startsWith('.');
}

function normalise(header: Headers): Headers {
  return { ...header, uid: 0, gid: 0, mtime: new Date(0) };
}
