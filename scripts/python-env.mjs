import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

const LOCK_FILE = fileURLToPath(new URL('../runner/requirements-dev.lock', import.meta.url));
const CANDIDATES = ['python3', 'python3.13', 'python3.12', 'python3.11'];
const INSTALL_HINT =
  'install Python 3.11 or newer with its venv module (Debian and Ubuntu: "apt-get install python3 python3-venv")';
/** How often a process that waits for another one's build looks again. */
const POLL_MS = 300;

/** The cache folder, by the rules of controller/setup/paths.ts; this file must run before TypeScript can. */
function cacheDir() {
  const { WORMHOLE_CACHE_DIR, XDG_CACHE_HOME, HOME } = process.env;
  if (WORMHOLE_CACHE_DIR !== undefined) return WORMHOLE_CACHE_DIR;
  if (process.getuid?.() === 0) return '/var/cache/wormhole';
  return join(XDG_CACHE_HOME ?? join(HOME ?? homedir(), '.cache'), 'wormhole');
}

/** Finds an interpreter that can make a venv: its path and full version. */
async function findPython() {
  const probe =
    'import sys, venv, ensurepip; assert sys.version_info >= (3, 11); print(sys.executable, sys.version.split()[0], sep="\\n")';
  for (const candidate of CANDIDATES) {
    try {
      const { stdout } = await run(candidate, ['-I', '-c', probe]);
      const [executable, version] = stdout.trim().split('\n');
      return { executable, version };
    } catch {
      // Missing, too old, or without venv: the next one may do.
    }
  }
  throw new Error(`no usable Python found (tried ${CANDIDATES.join(', ')}): ${INSTALL_HINT}`);
}

const isAlive = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
};

/** Holds `lock`, waiting while a live process has it. A symbolic link, because it appears with its content: our pid. */
async function acquire(lock) {
  for (;;) {
    try {
      await symlink(String(process.pid), lock);
      return;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const holder = await readlink(lock).catch(() => undefined);
    if (holder !== undefined && !isAlive(Number(holder))) await rm(lock, { force: true });
    else await delay(POLL_MS);
  }
}

/**
 * Makes the Python environment of the tests: a venv with everything in runner/requirements-dev.lock, installed by
 * hash. It is kept in the cache folder by the lock's content and the Python version, so it is built once; the
 * runner itself is not installed, it is used from runner/src.
 * @param {(line: string) => void} log is told what happens, when something does.
 * @returns {Promise<{ python: string, binDir: string }>} the interpreter and the folder of its programs.
 * @throws {Error} that says what to install when there is no Python of 3.11 or newer with venv.
 */
export async function ensurePythonEnv(log) {
  const { executable, version } = await findPython();
  const hash = createHash('sha256')
    .update(await readFile(LOCK_FILE))
    .update(version)
    .update(executable);
  const root = cacheDir();
  const folder = join(root, `python-${hash.digest('hex').slice(0, 16)}`);
  const binDir = join(folder, 'bin');
  const environment = { python: join(binDir, 'python'), binDir };
  // Paths are baked into a venv, so it cannot be built aside and renamed: the marker says that it is whole.
  const marker = join(folder, '.complete');
  if (existsSync(marker)) return environment;

  await mkdir(root, { recursive: true });
  const lock = `${folder}.lock`;
  await acquire(lock);
  try {
    if (existsSync(marker)) return environment;
    log(`making the Python environment of the tests (Python ${version})`);
    await rm(folder, { recursive: true, force: true });
    await run(executable, ['-I', '-m', 'venv', folder]);
    const pip = ['-I', '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-input'];
    await run(environment.python, [...pip, '--require-hashes', '--only-binary', ':all:', '-r', LOCK_FILE]);
    await writeFile(marker, '');
    return environment;
  } catch (error) {
    throw new Error(
      `the Python environment could not be made in ${folder}: ${error.stderr || error.message}`,
      {
        cause: error,
      },
    );
  } finally {
    await rm(lock, { force: true });
  }
}
