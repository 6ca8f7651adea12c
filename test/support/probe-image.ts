import { createHash } from 'node:crypto';
import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import type Dockerode from 'dockerode';
import { pack } from 'tar-fs';

const REPOSITORY = 'wormhole-probe';
const run = promisify(execFile);

/**
 * Makes an image whose only content is a static busybox and whose entry point is a shell script: what the runner's
 * image never has, to look around in a run's container, or to misbehave in one. Kept by the engine under a name
 * that follows from the script.
 * @returns the image's name.
 */
export async function probeImage(docker: Dockerode, script: string): Promise<string> {
  const tag = createHash('sha256').update(script).digest('hex').slice(0, 16);
  const image = `${REPOSITORY}:${tag}`;
  const known = await docker.listImages({ filters: { reference: [image] } });
  if (known.length === 0) {
    const folder = await mkdtemp(join(tmpdir(), 'probe-'));
    try {
      const root = join(folder, 'root');
      await mkdir(join(root, 'bin'), { recursive: true });
      await copyFile(await busybox(folder), join(root, 'bin', 'busybox'));
      await chmod(join(root, 'bin', 'busybox'), 0o755);
      const { stdout } = await run(join(root, 'bin', 'busybox'), ['--list']);
      for (const applet of stdout
        .trim()
        .split('\n')
        .filter((name) => name !== 'busybox')) {
        await symlink('busybox', join(root, 'bin', applet));
      }
      const changes = [`ENTRYPOINT ${JSON.stringify(['/bin/sh', '-c', script])}`, 'ENV PATH=/bin'];
      await text(await docker.importImage(Readable.from(pack(root)), { repo: REPOSITORY, tag, changes }));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  return image;
}

/** @returns the path of a static busybox, out of Debian's package, which need not be installed. */
async function busybox(folder: string): Promise<string> {
  // apt drops its privileges for downloads.
  await chmod(folder, 0o777);
  await run('apt-get', ['download', '-q', 'busybox-static'], { cwd: folder });
  const archive = (await readdir(folder)).find((name) => name.endsWith('.deb'));
  if (archive === undefined) throw new Error('apt-get downloaded no busybox-static');
  const unpacked = join(folder, 'package');
  await run('dpkg-deb', ['-x', join(folder, archive), unpacked]);
  return join(unpacked, 'bin', 'busybox');
}
