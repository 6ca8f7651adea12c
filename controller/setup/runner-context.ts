import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ContextPart } from './image-context.ts';

const RUNNER = fileURLToPath(new URL('../../runner', import.meta.url));

/** What of `runner/` the image is made of. */
export const RUNNER_SOURCES: ContextPart = {
  folder: RUNNER,
  entries: ['image', 'pyproject.toml', 'requirements.lock', 'src'],
  target: '',
};

/** The packages that the image gets, with their hashes. */
export const LOCK_FILE = join(RUNNER, 'requirements.lock');

/** @returns the runner's version. */
export function runnerVersion(): string {
  const match = /^version = "([^"]+)"$/m.exec(readFileSync(join(RUNNER, 'pyproject.toml'), 'utf8'));
  if (match?.[1] === undefined) throw new Error('runner/pyproject.toml states no version');
  return match[1];
}
