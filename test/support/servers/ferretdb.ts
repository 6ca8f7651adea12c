import { execFile, spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { access, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Availability } from '../availability.ts';
import type { ServerContext } from './server.ts';

const run = promisify(execFile);

const MODULE = join(import.meta.dirname, '..', 'ferretdb');
const PROGRESS_EVERY_MS = 15_000;
const ERRORS_KEPT = 4000;

/** Builds test/support/ferretdb, once: it is kept in the cache folder by its content. */
export async function buildFerretDb({ cacheDir, log }: ServerContext): Promise<Availability<string>> {
  const target = join(cacheDir, `ferretdb-${await contentHash()}`);
  if (await exists(target)) return { value: target };
  if (!(await hasGo()))
    return { missing: 'install Go 1.24 or newer (go.dev/dl), of which FerretDB is built' };

  const startedAt = Date.now();
  const seconds = (): string => `${Math.round((Date.now() - startedAt) / 1000)} s`;
  log('building FerretDB, once; this takes a few minutes');
  const progress = setInterval(() => log(`still building FerretDB, ${seconds()}`), PROGRESS_EVERY_MS);
  try {
    await mkdir(cacheDir, { recursive: true });
    await build(target);
  } finally {
    clearInterval(progress);
  }
  log(`FerretDB was built in ${seconds()}`);
  return { value: target };
}

async function contentHash(): Promise<string> {
  const hash = createHash('sha256').update(`${process.platform}-${process.arch}`);
  for (const file of ['go.mod', 'go.sum', 'main.go']) hash.update(await readFile(join(MODULE, file)));
  return hash.digest('hex').slice(0, 16);
}

/** Builds under a temporary name, so that a file with the final name is always whole. */
async function build(target: string): Promise<void> {
  const partial = `${target}.${randomUUID()}`;
  const args = ['build', '-mod=readonly', '-trimpath', '-tags=ferretdb_no_postgresql', '-ldflags=-s -w'];
  const go = spawn('go', [...args, '-o', partial, '.'], {
    cwd: MODULE,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let errors = '';
  go.stderr.on('data', (chunk: Buffer) => void (errors = (errors + chunk.toString()).slice(-ERRORS_KEPT)));
  const [code] = (await once(go, 'close')) as [number | null];
  if (code !== 0) {
    await rm(partial, { force: true });
    throw new Error(`FerretDB could not be built (go build in ${MODULE}):\n${errors}`);
  }
  await rename(partial, target);
}

const hasGo = (): Promise<boolean> =>
  run('go', ['version']).then(
    () => true,
    () => false,
  );

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
