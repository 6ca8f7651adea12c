import { randomBytes } from 'node:crypto';
import { link, mkdir, open, rm, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WormholeError } from '../errors.ts';
import { KeyRing } from './cipher.ts';

/** @returns where the embedded default keeps its encryption keys. */
export const encryptionKeyFile = (stateDir: string): string => join(stateDir, 'encryption-keys');

/**
 * Reads the key ring of the embedded default, and makes one with a fresh key at the first start. The file is created
 * whole or not at all, with mode 0600; of two processes that start together, one creates it and both read it.
 * @returns the text for `KeyRing.parse`.
 * @throws {WormholeError} ENCRYPTION_KEY_INVALID if the file is readable by others or holds no valid keys.
 */
export async function loadOrCreateKeyFile(path: string): Promise<string> {
  const file = (await openExisting(path)) ?? (await create(path));
  try {
    const { mode } = await file.stat();
    if ((mode & 0o077) !== 0) {
      throw new WormholeError(
        'ENCRYPTION_KEY_INVALID',
        `${path} is open to other users; replace the keys in it, or run "chmod 600 ${path}" if nobody can have read them`,
      );
    }
    const text = (await file.readFile('utf8')).trim();
    KeyRing.parse(text);
    return text;
  } finally {
    await file.close();
  }
}

async function openExisting(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null;
    throw error;
  }
}

async function create(path: string): Promise<FileHandle> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  const file = await open(draft, 'wx', 0o600);
  try {
    await file.writeFile(`local:${randomBytes(32).toString('base64')}\n`);
    await file.sync();
    // Unlike a rename, a link does not replace the file of somebody who was faster.
    await link(draft, path).catch((error: unknown) => {
      if (!isErrno(error, 'EEXIST')) throw error;
    });
  } finally {
    await file.close();
    await rm(draft, { force: true });
  }
  return open(path, 'r');
}

const isErrno = (error: unknown, code: string): boolean =>
  error instanceof Error && (error as NodeJS.ErrnoException).code === code;
