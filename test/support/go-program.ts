import { execFile, spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { access, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { withLock } from '../../controller/setup/lock.ts';
import type { Availability } from './availability.ts';

const run = promisify(execFile);

const PROGRESS_EVERY_MS = 15_000;
const ERRORS_KEPT = 4000;

/** A program that is built of a Go module with a committed go.sum. */
export interface GoProgram {
  /** What it is called, for people and as the start of its file name. */
  readonly name: string;
  /** The folder of the module: go.mod, go.sum and, where the program is the module's own, main.go. */
  readonly module: string;
  /**
   * The package to build.
   * @default '.'
   */
  readonly package?: string;
  /** @default - none */
  readonly tags?: string;
  /** Values of string variables, by their qualified names (`go tool link -X`). @default - none */
  readonly variables?: Readonly<Record<string, string>>;
  /** How long the first build takes, for people. */
  readonly takes: string;
}

/** Where programs are kept, and who is told what takes time. */
export interface BuildContext {
  readonly cacheDir: string;
  readonly log: (message: string) => void;
}

/**
 * Builds a program once: it is kept in the cache folder by the content it is made of. One is built at a time.
 * @returns its path, or that Go is missing.
 * @throws {Error} with the end of Go's output when it cannot be built.
 */
export async function buildGoProgram(
  program: GoProgram,
  { cacheDir, log }: BuildContext,
): Promise<Availability<string>> {
  const target = join(cacheDir, `${program.name}-${await contentHash(program)}`);
  if (await exists(target)) return { value: target };
  if (!(await hasGo())) {
    return { missing: `install Go 1.26 or newer (go.dev/dl), of which ${program.name} is built` };
  }
  await mkdir(cacheDir, { recursive: true });
  await withLock(join(cacheDir, 'go-build.lock'), async () => {
    if (await exists(target)) return;
    const startedAt = Date.now();
    const seconds = (): string => `${Math.round((Date.now() - startedAt) / 1000)} s`;
    log(`building ${program.name}, once; this takes ${program.takes}`);
    const progress = setInterval(
      () => log(`still building ${program.name}, ${seconds()}`),
      PROGRESS_EVERY_MS,
    );
    try {
      await build(program, target);
    } finally {
      clearInterval(progress);
    }
    log(`${program.name} was built in ${seconds()}`);
  });
  return { value: target };
}

async function contentHash(program: GoProgram): Promise<string> {
  const hash = createHash('sha256').update(
    `${process.platform}-${process.arch} ${buildArgs(program).join(' ')}`,
  );
  for (const file of ['go.mod', 'go.sum', 'main.go']) {
    // A module without dependencies has no go.sum, one that only names a program of another no main.go.
    hash.update(await readFile(join(program.module, file)).catch(() => ''));
  }
  return hash.digest('hex').slice(0, 16);
}

function buildArgs({ tags, variables = {} }: GoProgram): string[] {
  const links = Object.entries(variables).map(([name, value]) => ` -X ${name}=${value}`);
  return [
    ...['build', '-mod=readonly', '-trimpath', '-buildvcs=false', `-ldflags=-s -w${links.join('')}`],
    ...(tags === undefined ? [] : [`-tags=${tags}`]),
  ];
}

/** Builds under a temporary name, so that a file with the final name is always whole. */
async function build(program: GoProgram, target: string): Promise<void> {
  const partial = `${target}.${randomUUID()}`;
  const go = spawn('go', [...buildArgs(program), '-o', partial, program.package ?? '.'], {
    cwd: program.module,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let errors = '';
  go.stderr.on('data', (chunk: Buffer) => void (errors = (errors + chunk.toString()).slice(-ERRORS_KEPT)));
  const [code] = (await once(go, 'close')) as [number | null];
  if (code !== 0) {
    await rm(partial, { force: true });
    throw new Error(`${program.name} could not be built (go build in ${program.module}):\n${errors}`);
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
