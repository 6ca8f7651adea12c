import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { copyFile, cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import type Dockerode from 'dockerode';
import { runCommand } from '../../../controller/setup/command.ts';
import { suite } from '../../../controller/setup/debian.ts';
import { followProgress, hasImage } from '../../../controller/setup/engine-images.ts';
import { buildContext } from '../../../controller/setup/image-context.ts';

const SOURCES = join(import.meta.dirname, '../../compose/images');
const RECIPE = [
  ...['--variant=essential', '--mode=root', '--format=tar', '--quiet'],
  '--include=postgresql,redis-server',
  '--aptopt=APT::Install-Recommends "false"',
  ...['doc', 'locale', 'man'].map((folder) => `--dpkgopt=path-exclude=/usr/share/${folder}/*`),
];

/** The images of the database servers, by their names on the engine. */
export interface ServerImages {
  readonly postgres: string;
  readonly redis: string;
  readonly mongodb: string;
}

/**
 * Makes sure that the engine has images of PostgreSQL and Redis of Debian's packages, and of FerretDB in MongoDB's place.
 * @param ferretdb the program.
 */
export async function ensureServerImages(
  docker: Dockerode,
  ferretdb: string,
  log: (message: string) => void,
): Promise<ServerImages> {
  const base = await ensureBase(docker, log);
  const build = (name: keyof ServerImages): Promise<string> => ensureImage(docker, name, base, ferretdb);
  return { postgres: await build('postgres'), redis: await build('redis'), mongodb: await build('mongodb') };
}

async function ensureBase(docker: Dockerode, log: (message: string) => void): Promise<string> {
  const release = suite();
  if (release === undefined) throw new Error('this Debian does not say which release it is');
  const name = `wormhole-test-servers:${hashOf(JSON.stringify([RECIPE, release]))}`;
  if (await hasImage(docker, name)) return name;
  const folder = await mkdtemp(join(tmpdir(), 'base-'));
  try {
    const archive = join(folder, 'base.tar');
    log(`making an image of PostgreSQL and Redis of ${release}'s packages (mmdebstrap; about a minute)`);
    await runCommand('mmdebstrap', [...RECIPE, release, archive]);
    const [repo, tag] = name.split(':');
    await finished((await docker.importImage(createReadStream(archive), { repo, tag })).resume());
    return name;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function ensureImage(
  docker: Dockerode,
  server: keyof ServerImages,
  base: string,
  ferretdb: string,
): Promise<string> {
  const source = join(SOURCES, server);
  const files = (await readdir(source)).sort();
  const texts = await Promise.all(files.map((file) => readFile(join(source, file), 'utf8')));
  const name = `wormhole-test-${server}:${hashOf(JSON.stringify([base, ferretdb, files, texts]))}`;
  if (await hasImage(docker, name)) return name;
  const folder = await mkdtemp(join(tmpdir(), 'image-'));
  try {
    await cp(source, folder, { recursive: true });
    if (server === 'mongodb') await copyFile(ferretdb, join(folder, 'ferretdb'));
    const stream = await docker.buildImage(buildContext([{ folder, target: '' }]), {
      t: name,
      networkmode: 'none',
      forcerm: true,
      buildargs: { BASE_IMAGE: base },
    });
    await followProgress(docker, stream);
    return name;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 12);
