import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type Dockerode from 'dockerode';
import { messageOf, WormholeError } from '../errors.ts';
import { chooseBase, type BaseImage } from './base-image.ts';
import type { Engine } from './engine.ts';
import { followProgress, hasImage, pullImage } from './engine-images.ts';
import { withLock } from './lock.ts';
import { buildContext, runnerVersion, sourceHash } from './runner-context.ts';
import { ensureWheels, type WheelTarget } from './wheels.ts';

const REPOSITORY = 'wormhole-runner';
/** Older ones are removed: other versions may be in use on the same engine, but not many. */
const IMAGES_KEPT = 3;

/** The image that run containers are made from. */
export interface RunnerImage {
  /** What to run: the image's id, which names exactly one content. */
  readonly image: string;
  /** Its name, for people. */
  readonly name: string;
  /** Size unpacked, in megabytes (10⁶ bytes). */
  readonly imageMb: number;
  /** Whether it had to be built now. */
  readonly built: boolean;
}

export interface RunnerImageOptions {
  /** Where downloaded wheels are kept. */
  readonly cacheDir: string;
  /**
   * An image to run instead, already built; pulled if it is not on the engine.
   * @default - the image of this source tree, built if need be
   */
  readonly runnerImage?: string | undefined;
  /**
   * What to build from: an image with glibc, Python 3.11 or newer and pip.
   * @default - Debian packages on Debian and Ubuntu as root, elsewhere `python:3.13-slim`
   */
  readonly baseImage?: string | undefined;
  /** Told before each slow step, in words for the user. */
  readonly onProgress?: (step: string) => void;
}

/**
 * Makes sure that the engine has the runner image. It is built once for each content: sources, locked packages,
 * and the choice of the base are its tag. Processes that need it at the same time wait for one build.
 * @throws {WormholeError} IMAGE_BUILD_FAILED, with the end of what the build printed.
 */
export async function ensureRunnerImage(engine: Engine, options: RunnerImageOptions): Promise<RunnerImage> {
  const { docker } = engine;
  const onProgress = options.onProgress ?? (() => undefined);
  if (options.runnerImage !== undefined) {
    if (!(await hasImage(docker, options.runnerImage)))
      await pullImage(docker, options.runnerImage, onProgress);
    return await describe(docker, options.runnerImage, false);
  }
  const base = chooseBase(docker, options.baseImage, options.cacheDir, onProgress);
  const version = runnerVersion();
  const hash = createHash('sha256')
    .update(JSON.stringify([sourceHash(), base.name]))
    .digest('hex')
    .slice(0, 12);
  const name = `${REPOSITORY}:${version}-${hash}`;
  if (await hasImage(docker, name)) return await describe(docker, name, false);
  mkdirSync(options.cacheDir, { recursive: true });
  return await withLock(join(options.cacheDir, 'image.lock'), async () => {
    const built = !(await hasImage(docker, name));
    if (built) {
      await base.provide();
      const wheels = await ensureWheels(await inspectBase(docker, base), options.cacheDir, onProgress);
      onProgress(`building the runner image ${name}`);
      await build(docker, { name, hash, version, base, wheels });
      await removeOldImages(docker);
    }
    return await describe(docker, name, built);
  });
}

async function describe(docker: Dockerode, name: string, built: boolean): Promise<RunnerImage> {
  const { Id, Size } = await docker.getImage(name).inspect();
  return { image: Id, name, imageMb: Size / 1e6, built };
}

/** Asks the base itself which wheels it needs. */
async function inspectBase(docker: Dockerode, base: BaseImage): Promise<WheelTarget> {
  const program = 'import platform; print(*platform.python_version_tuple()[:2], platform.machine())';
  const container = await docker.createContainer({
    Image: base.name,
    Entrypoint: ['python3', '-I', '-c', program],
    // Without a terminal the engine puts binary headers between the lines.
    Tty: true,
    HostConfig: { NetworkMode: 'none' },
  });
  try {
    await container.start();
    const { StatusCode: exitCode } = (await container.wait()) as { readonly StatusCode: number };
    const printed = (await container.logs({ stdout: true, stderr: true, follow: false }))
      .toString('utf8')
      .trim();
    const match = /^(\d+) (\d+) (\w+)$/.exec(printed);
    if (exitCode !== 0 || match === null) throw new Error(printed);
    return { pythonVersion: `${match[1] ?? ''}.${match[2] ?? ''}`, architecture: match[3] ?? '' };
  } catch (error) {
    throw new WormholeError(
      'IMAGE_BUILD_FAILED',
      `the base image "${base.name}" does not run python3: ${messageOf(error)}`,
      { cause: error },
    );
  } finally {
    await container.remove({ force: true });
  }
}

interface Build {
  readonly name: string;
  readonly hash: string;
  readonly version: string;
  readonly base: BaseImage;
  readonly wheels: string;
}

async function build(docker: Dockerode, { name, hash, version, base, wheels }: Build): Promise<void> {
  try {
    const stream = await docker.buildImage(buildContext(wheels), {
      t: name,
      dockerfile: 'image/Dockerfile',
      networkmode: 'none',
      forcerm: true,
      buildargs: { BASE_IMAGE: base.name, BASE_NAME: base.name, VERSION: version, BUILD_ID: hash },
    });
    await followProgress(docker, stream);
  } catch (error) {
    throw new WormholeError('IMAGE_BUILD_FAILED', `the runner image ${name}: ${messageOf(error)}`, {
      cause: error,
    });
  } finally {
    // The build stage is four times as large as the image, and no later build can use it.
    await docker.pruneImages({ filters: { dangling: ['true'], label: [`wormhole.dev/build=${hash}`] } });
  }
}

/** Removes the runner images of older sources but for the newest few; one that is in use stays. */
async function removeOldImages(docker: Dockerode): Promise<void> {
  const images = await docker.listImages({ filters: { reference: [REPOSITORY] } });
  const old = images.sort((a, b) => b.Created - a.Created).slice(IMAGES_KEPT);
  for (const name of old.flatMap((image) => image.RepoTags ?? [])) {
    try {
      await docker.getImage(name).remove();
    } catch (error) {
      if (!(
        error instanceof Error &&
        'statusCode' in error &&
        [404, 409].includes(Number(error.statusCode))
      )) {
        throw error;
      }
    }
  }
}
