import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A folder that changes as the kubelet changes a Secret's volume: all files at once, by swapping one symlink. */
export class SecretVolume {
  readonly folder: string;
  #version = 0;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async mount(files: Readonly<Record<string, string>>): Promise<SecretVolume> {
    const volume = new SecretVolume(await mkdtemp(join(tmpdir(), 'wh-secret-')));
    await volume.update(files);
    for (const name of Object.keys(files)) await symlink(join('..data', name), join(volume.folder, name));
    return volume;
  }

  /** @returns the path of a file in it. */
  path(name: string): string {
    return join(this.folder, name);
  }

  async update(files: Readonly<Record<string, string>>): Promise<void> {
    const previous = this.#version;
    const version = `..v${(this.#version += 1)}`;
    await mkdir(join(this.folder, version));
    for (const [name, content] of Object.entries(files))
      await writeFile(join(this.folder, version, name), content);
    await symlink(version, join(this.folder, '..data_tmp'));
    await rename(join(this.folder, '..data_tmp'), join(this.folder, '..data'));
    await rm(join(this.folder, `..v${previous}`), { recursive: true, force: true });
  }

  async unmount(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}
