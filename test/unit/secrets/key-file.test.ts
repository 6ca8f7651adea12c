import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KeyRing } from '../../../controller/secrets/cipher.ts';
import { encryptionKeyFile, loadOrCreateKeyFile } from '../../../controller/secrets/key-file.ts';

describe('the key file', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'keys-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('is made once, for its owner alone, and read from then on', async () => {
    const path = encryptionKeyFile(join(folder, 'state'));
    const first = await loadOrCreateKeyFile(path);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await loadOrCreateKeyFile(path)).toBe(first);
    expect(KeyRing.parse(first).open(KeyRing.parse(first).seal('x', ''), '').toString()).toBe('x');
  });

  it('is the same for all who start at once, and nothing else is left', async () => {
    const path = join(folder, 'keys');
    const texts = await Promise.all(Array.from({ length: 20 }, () => loadOrCreateKeyFile(path)));
    expect(new Set(texts).size).toBe(1);
    expect((await readFile(path, 'utf8')).trim()).toBe(texts[0]);
    expect(await readdir(folder)).toEqual(['keys']);
  });

  it('is refused when others can read it, or when it holds no keys', async () => {
    const path = join(folder, 'keys');
    await loadOrCreateKeyFile(path);
    await chmod(path, 0o640);
    await expect(loadOrCreateKeyFile(path)).rejects.toThrow(/chmod 600/);
    await chmod(path, 0o600);
    await writeFile(path, 'nonsense');
    await expect(loadOrCreateKeyFile(path)).rejects.toMatchObject({ code: 'ENCRYPTION_KEY_INVALID' });
  });
});
