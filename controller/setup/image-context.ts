import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import { pack, type Headers, type Pack } from 'tar-fs';

/** One folder that goes into the build of an image. */
export interface ContextPart {
  readonly folder: string;
  /** What of it. @default - everything */
  readonly entries?: readonly string[];
  /** Where it goes in the context; empty is its root. */
  readonly target: string;
  /** What is left out, by path. @default - nothing but byproducts */
  readonly omit?: RegExp;
}

/** @returns a hash over the names and contents of all files of the parts. */
export function hashOf(parts: readonly ContextPart[]): string {
  const hash = createHash('sha256');
  for (const part of parts) {
    const files = (part.entries ?? readdirSync(part.folder)).flatMap((entry) => filesBelow(part, entry));
    for (const file of files.sort()) {
      const content = readFileSync(join(part.folder, file));
      hash.update(`${join(part.target, file)}\0${content.length}\0`).update(content);
    }
  }
  return hash.digest('hex');
}

/** @returns the context of an image's build as a tar stream, the same bytes for the same parts. */
export function buildContext(parts: readonly ContextPart[]): Readable {
  const add = (index: number, archive?: Pack): Pack => {
    const part = parts[index];
    if (part === undefined) throw new Error('a context needs at least one part');
    const isLast = index === parts.length - 1;
    return pack(part.folder, {
      ...(part.entries !== undefined && { entries: [...part.entries] }),
      ...(archive !== undefined && { pack: archive }),
      ignore: (path) => isOmitted(part, path),
      map: (header) => normalise({ ...header, name: join(part.target, header.name) }),
      finalize: isLast,
      ...(!isLast && { finish: (open: Pack) => void add(index + 1, open) }),
    });
  };
  return Readable.from(add(0));
}

function filesBelow(part: ContextPart, path: string): string[] {
  if (isOmitted(part, path)) return [];
  const { folder } = part;
  if (!statSync(join(folder, path)).isDirectory()) return [path];
  return readdirSync(join(folder, path)).flatMap((name) => filesBelow(part, join(path, name)));
}

/** What Python and packaging tools leave in a source folder, and what the part leaves out. */
function isOmitted({ omit }: ContextPart, path: string): boolean {
  const name = basename(path);
  const isByproduct = name === '__pycache__' || name.endsWith('.egg-info') || name.startsWith('.');
  return isByproduct || omit?.test(path) === true;
}

function normalise(header: Headers): Headers {
  return { ...header, uid: 0, gid: 0, mtime: new Date(0) };
}
