import { readdirSync, readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { messageOf, WormholeError } from './errors.ts';

/** The variable that names the folder. */
const FOLDER_VARIABLE = 'WORMHOLE_SECRETS_DIR';

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * Reads the folder that WORMHOLE_SECRETS_DIR names, e.g. a mounted Secret: each file there counts as the variable of
 * its name, less one line end. Hidden files are how Kubernetes replaces such a folder's content; they are left alone.
 * @param names the variables that there are.
 * @returns the variables with those of the folder.
 * @throws {WormholeError} CONFIG_INVALID for a folder that cannot be read, a file that is no variable, and a variable
 *   that is set, too. No content is ever shown.
 */
export function withSecretFiles(env: Variables, names: readonly string[]): Variables {
  const folder = env[FOLDER_VARIABLE];
  // A relative one is refused with the other variables.
  if (folder === undefined || !isAbsolute(folder)) return env;
  const files = attempt(folder, () => readdirSync(folder)).filter((name) => !name.startsWith('.'));
  for (const name of files) {
    if (!names.includes(name) || name === FOLDER_VARIABLE) {
      throw invalid(`${join(folder, name)}: is not named as a variable; allowed: ${names.join(', ')}`);
    }
    if (env[name] !== undefined) {
      throw invalid(`${name}: is set, and ${join(folder, name)} exists, too; remove one of them`);
    }
  }
  const read = files.map((name) => {
    const text = attempt(join(folder, name), () => readFileSync(join(folder, name), 'utf8'));
    return [name, text.replace(/\r?\n$/, '')] as const;
  });
  return { ...env, ...Object.fromEntries(read) };
}

function attempt<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw invalid(`${FOLDER_VARIABLE}: ${path} cannot be read: ${messageOf(error)}`, error);
  }
}

const invalid = (message: string, cause?: unknown): WormholeError =>
  new WormholeError('CONFIG_INVALID', `the environment: ${message}`, { cause });
