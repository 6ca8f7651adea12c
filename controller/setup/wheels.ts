import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, WormholeError } from '../errors.ts';
import { runCommand } from './command.ts';
import { canInstallPackages, installPackages } from './debian.ts';
import { LOCK_FILE } from './runner-context.ts';

/** For which interpreter and processor wheels are wanted. */
export interface WheelTarget {
  /** e.g. `3.11`. */
  readonly pythonVersion: string;
  /** As the engine calls it: `x86_64`, `aarch64`. */
  readonly architecture: string;
}

/** The tags of PEP 600 that wheels for the supported bases carry; pip wants each of them named. */
const MANYLINUX = ['manylinux_2_17', 'manylinux2014', 'manylinux_2_28'];

/**
 * Downloads the wheels of `runner/requirements.lock`, checked against its hashes, unless they were before.
 * @returns the folder that they are in.
 * @throws {WormholeError} IMAGE_BUILD_FAILED when there is no pip, or it fails.
 */
export async function ensureWheels(
  target: WheelTarget,
  cacheDir: string,
  onProgress: (step: string) => void,
): Promise<string> {
  const lock = readFileSync(LOCK_FILE, 'utf8');
  const key = createHash('sha256')
    .update(JSON.stringify([target, lock]))
    .digest('hex')
    .slice(0, 12);
  const folder = join(cacheDir, `wheels-${key}`);
  if (existsSync(folder)) return folder;
  const unfinished = mkdtempSync(join(cacheDir, 'wheels-unfinished-'));
  try {
    const pip = await findPip(cacheDir, onProgress);
    onProgress("downloading the runner's Python packages");
    // pip would judge markers by the Python that it runs on; the build judges them by the image's.
    const requirements = join(unfinished, 'requirements.txt');
    writeFileSync(requirements, lock.replaceAll(/ ; [^\\\n]*/g, ' '));
    await runCommand(pip, [
      ...['-m', 'pip', 'download', '--quiet', '--disable-pip-version-check'],
      ...['--no-deps', '--require-hashes', '--only-binary', ':all:'],
      ...['--implementation', 'cp', '--python-version', target.pythonVersion],
      ...MANYLINUX.flatMap((tag) => ['--platform', `${tag}_${target.architecture}`]),
      ...['--dest', unfinished, '--requirement', requirements],
    ]);
    rmSync(requirements);
    renameSync(unfinished, folder);
    return folder;
  } catch (error) {
    if (error instanceof WormholeError) throw error;
    throw new WormholeError('IMAGE_BUILD_FAILED', `the runner's Python packages: ${messageOf(error)}`, {
      cause: error,
    });
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
}

/** @returns a Python 3 that has pip; in a virtual environment of our own where the system's has none. */
async function findPip(cacheDir: string, onProgress: (step: string) => void): Promise<string> {
  if (await succeeds('python3', ['-m', 'pip', '--version'])) return 'python3';
  const environment = join(cacheDir, 'pip');
  const python = join(environment, 'bin', 'python3');
  if (await succeeds(python, ['-m', 'pip', '--version'])) return python;
  if (await succeeds('python3', ['-m', 'venv', '--clear', environment])) return python;
  if (canInstallPackages()) {
    await installPackages(['python3-venv'], onProgress);
    await runCommand('python3', ['-m', 'venv', '--clear', environment]);
    return python;
  }
  throw new WormholeError(
    'IMAGE_BUILD_FAILED',
    'the runner image needs Python 3 with pip on this machine, to download packages: install python3-pip ' +
      '(Debian, Ubuntu) or Python from your package manager, or set WORMHOLE_RUNNER_IMAGE to an image that is built',
  );
}

async function succeeds(program: string, args: readonly string[]): Promise<boolean> {
  try {
    await runCommand(program, args);
    return true;
  } catch {
    return false;
  }
}
