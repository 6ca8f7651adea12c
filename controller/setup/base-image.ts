import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import type Dockerode from 'dockerode';
import { messageOf, WormholeError } from '../errors.ts';
import { runCommand } from './command.ts';
import { canInstallPackages, installPackages, suite } from './debian.ts';
import { hasImage, pullImage } from './engine-images.ts';

/** Where there is a registry and nobody chose a base. */
const DEFAULT_BASE = 'python:3.13-slim';

/** How a base is built on Debian: what the build stages need, without documentation and translations. */
const RECIPE = [
  ...['--variant=essential', '--mode=root', '--format=tar', '--quiet'],
  '--include=ca-certificates,libstdc++6,python3,python3-pip',
  '--aptopt=APT::Install-Recommends "false"',
  '--dpkgopt=path-exclude=/usr/share/doc/*',
  '--dpkgopt=path-include=/usr/share/doc/*/copyright',
  '--dpkgopt=path-exclude=/usr/share/locale/*',
  '--dpkgopt=path-exclude=/usr/share/man/*',
];

/** The image that the build of an image starts from. */
export interface BaseImage {
  /** Its name on the engine. */
  readonly name: string;
  /** Puts it on the engine if it is not there. */
  provide(): Promise<void>;
}

/**
 * Decides which base to use: the one that was asked for; on Debian and Ubuntu as root one that is built from the
 * machine's own package archive, which needs no image registry; elsewhere the official Python image.
 * @param asked - an image reference, or undefined.
 */
export function chooseBase(
  docker: Dockerode,
  asked: string | undefined,
  cacheDir: string,
  onProgress: (step: string) => void,
): BaseImage {
  const release = canInstallPackages() ? suite() : undefined;
  if (asked !== undefined || release === undefined) {
    const name = asked ?? DEFAULT_BASE;
    return {
      name,
      async provide() {
        if (!(await hasImage(docker, name))) await pullImage(docker, name, onProgress);
      },
    };
  }
  const sources = archiveSources();
  const recipe = JSON.stringify([RECIPE, release, sources.map((file) => readFileSync(file, 'utf8'))]);
  const name = `wormhole-base:${release}-${createHash('sha256').update(recipe).digest('hex').slice(0, 12)}`;
  return {
    name,
    async provide() {
      if (!(await hasImage(docker, name)))
        await buildBase(docker, name, release, sources, cacheDir, onProgress);
    },
  };
}

/** The files that say where the distribution's own packages come from; those of other vendors are left out. */
function archiveSources(): string[] {
  const files = ['sources.list', 'sources.list.d/debian.sources', 'sources.list.d/ubuntu.sources'];
  return files
    .map((file) => join('/etc/apt', file))
    .filter((file) => existsSync(file) && /^(?:deb|URIs:) ?/m.test(readFileSync(file, 'utf8')));
}

async function buildBase(
  docker: Dockerode,
  name: string,
  release: string,
  sources: readonly string[],
  cacheDir: string,
  onProgress: (step: string) => void,
): Promise<void> {
  const archive = join(cacheDir, 'base.tar');
  try {
    if (!existsSync('/usr/bin/mmdebstrap')) await installPackages(['mmdebstrap'], onProgress);
    onProgress(`building a base image from ${release}'s packages (mmdebstrap; about a minute)`);
    await runCommand('mmdebstrap', [...RECIPE, release, archive, ...sources]);
    const [repo, tag] = name.split(':');
    await finished((await docker.importImage(createReadStream(archive), { repo, tag })).resume());
  } catch (error) {
    throw new WormholeError(
      'IMAGE_BUILD_FAILED',
      `the base image could not be built: ${messageOf(error)}\nSet WORMHOLE_BASE_IMAGE to one that you have.`,
      { cause: error },
    );
  } finally {
    rmSync(archive, { force: true });
  }
}
