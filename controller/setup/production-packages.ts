import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf, WormholeError } from '../errors.ts';
import { runCommand } from './command.ts';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));

/** What says which packages there are. */
export const PACKAGE_FILES = ['package.json', 'package-lock.json'];

/**
 * Installs the packages of package-lock.json that the program needs to run, without install scripts and without
 * optional ones, unless they were before.
 * @returns the folder that has them in `node_modules`.
 * @throws {WormholeError} IMAGE_BUILD_FAILED when there is no npm, or it fails.
 */
export async function ensureProductionPackages(
  cacheDir: string,
  onProgress: (step: string) => void,
): Promise<string> {
  const hash = createHash('sha256');
  for (const file of PACKAGE_FILES) hash.update(readFileSync(join(PROJECT, file)));
  const folder = join(cacheDir, `production-packages-${hash.digest('hex').slice(0, 12)}`);
  if (existsSync(folder)) return folder;
  const unfinished = mkdtempSync(join(cacheDir, 'production-packages-unfinished-'));
  try {
    for (const file of [...PACKAGE_FILES, '.npmrc'])
      copyFileSync(join(PROJECT, file), join(unfinished, file));
    onProgress("installing the control plane's npm packages");
    await runCommand('npm', ['ci', '--omit=dev', '--omit=optional', '--ignore-scripts'], { cwd: unfinished });
    renameSync(unfinished, folder);
    return folder;
  } catch (error) {
    throw new WormholeError('IMAGE_BUILD_FAILED', `the control plane's npm packages: ${messageOf(error)}`, {
      cause: error,
    });
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
}
