import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import type Dockerode from 'dockerode';
import { extract, type Header } from 'tar-stream';

/** Created by the engine in every container, empty in the image. */
const ENGINE_FILES = ['.dockerenv', 'etc/hostname', 'etc/hosts', 'etc/resolv.conf', 'etc/mtab'];

/** A file of an image, a folder or a link. */
export interface ImageFile {
  readonly header: Header;
  /** As latin1. */
  readonly content: string;
}

/** All files of an image by path, but for what the engine adds to a container. */
export async function filesOf(docker: Dockerode, image: string): Promise<ReadonlyMap<string, ImageFile>> {
  const container = await docker.createContainer({ Image: image, HostConfig: { NetworkMode: 'none' } });
  try {
    const files = new Map<string, ImageFile>();
    const archive = extract();
    archive.on('entry', (header, stream, next) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk) => chunks.push(chunk as Buffer));
      stream.on('end', () => {
        const name = header.name.replace(/\/$/, '');
        const added = ENGINE_FILES.includes(name) || /^dev(?:\/|$)/.test(name);
        if (!added) files.set(name, { header, content: Buffer.concat(chunks).toString('latin1') });
        next();
      });
    });
    const exported = await container.export();
    await new Promise<void>((resolve, reject) => {
      archive.on('finish', () => resolve()).on('error', reject);
      exported.on('error', reject).pipe(archive);
    });
    return files;
  } finally {
    await container.remove({ force: true });
  }
}

/**
 * Runs a program of an image as a run would be, but without gateway and egress proxy.
 * @param program.entrypoint instead of the image's own. @param program.args after the entry point.
 */
export async function runHardened(
  docker: Dockerode,
  image: string,
  program: { readonly entrypoint?: readonly string[]; readonly args?: readonly string[] } = {},
): Promise<{ exitCode: number; output: string }> {
  const container = await docker.createContainer({
    Image: image,
    ...(program.entrypoint !== undefined && { Entrypoint: [...program.entrypoint] }),
    ...(program.args !== undefined && { Cmd: [...program.args] }),
    Tty: true,
    HostConfig: {
      NetworkMode: 'none',
      ReadonlyRootfs: true,
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges'],
      Tmpfs: { '/tmp': 'rw,nosuid,nodev,noexec,size=8m,mode=1777' },
      Memory: 256 * 2 ** 20,
      MemorySwap: 256 * 2 ** 20,
      PidsLimit: 64,
    },
  });
  try {
    const stream = await container.attach({ stream: true, stdout: true, stderr: true });
    const output = text(Readable.from(stream));
    await container.start();
    const { StatusCode: exitCode } = (await container.wait()) as { readonly StatusCode: number };
    return { exitCode, output: await output };
  } finally {
    await container.remove({ force: true });
  }
}
