import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type Dockerode from 'dockerode';
import { messageOf, WormholeError } from '../errors.ts';
import { chooseBase, type BaseImage } from './base-image.ts';
import type { Engine } from './engine.ts';
import { followProgress, hasImage } from './engine-images.ts';
import { buildContext, type ContextPart } from './image-context.ts';
import { withLock } from './lock.ts';

/** Older ones are removed: other versions may be in use on the same engine, but not many. */
const IMAGES_KEPT = 3;

/** An image that the engine has. */
export interface BuiltImage {
  /** What to run: the image's id, which names exactly one content. */
  readonly image: string;
  /** Its name, for people. */
  readonly name: string;
  /** Size unpacked, in megabytes (10⁶ bytes). */
  readonly imageMb: number;
  /** Whether it had to be built now. */
  readonly built: boolean;
}

export interface BuildOptions {
  /** Where what is downloaded is kept. */
  readonly cacheDir: string;
  /**
   * What to build from: an image with glibc, libstdc++, Python 3.11 or newer and pip.
   * @default - Debian packages on Debian and Ubuntu as root, elsewhere `python:3.13-slim`
   */
  readonly baseImage?: string | undefined;
  /** Told before each slow step, in words for the user. */
  readonly onProgress?: ((step: string) => void) | undefined;
}

/** One of our images: a Dockerfile `image/Dockerfile` in a context that needs no network. */
export interface ImageRecipe {
  /** The image's name without its tag. */
  readonly repository: string;
  readonly version: string;
  /** A hash of all that the image is made of, but for the base. */
  readonly contentHash: string;
  /** Collects what the build needs; the base is on the engine then. */
  readonly collect: (base: BaseImage) => Promise<readonly ContextPart[]>;
}

/**
 * Makes sure that the engine has the image. It is built once for each content: sources, locked packages, and the
 * choice of the base are its tag. Processes that need it at the same time wait for one build.
 * @throws {WormholeError} IMAGE_BUILD_FAILED, with the end of what the build printed.
 */
export async function ensureImage(
  { docker }: Engine,
  recipe: ImageRecipe,
  options: BuildOptions,
): Promise<BuiltImage> {
  const { cacheDir, baseImage, onProgress = () => undefined } = options;
  const { repository, version, contentHash } = recipe;
  const base = chooseBase(docker, baseImage, cacheDir, onProgress);
  const hash = createHash('sha256')
    .update(JSON.stringify([contentHash, base.name]))
    .digest('hex')
    .slice(0, 12);
  const name = `${repository}:${version}-${hash}`;
  if (await hasImage(docker, name)) return await describeImage(docker, name, false);
  mkdirSync(cacheDir, { recursive: true });
  return await withLock(join(cacheDir, 'image.lock'), async () => {
    const built = !(await hasImage(docker, name));
    if (built) {
      await base.provide();
      const parts = await recipe.collect(base);
      onProgress(`building the image ${name}`);
      await build(docker, { name, hash, version, base, parts });
      await removeOldImages(docker, repository);
    }
    return await describeImage(docker, name, built);
  });
}

/** @returns what the engine knows of an image that it has. */
export async function describeImage(docker: Dockerode, name: string, built: boolean): Promise<BuiltImage> {
  const { Id, Size } = await docker.getImage(name).inspect();
  return { image: Id, name, imageMb: Size / 1e6, built };
}

interface Build {
  readonly name: string;
  readonly hash: string;
  readonly version: string;
  readonly base: BaseImage;
  readonly parts: readonly ContextPart[];
}

async function build(docker: Dockerode, { name, hash, version, base, parts }: Build): Promise<void> {
  try {
    const stream = await docker.buildImage(buildContext(parts), {
      t: name,
      dockerfile: 'image/Dockerfile',
      networkmode: 'none',
      forcerm: true,
      buildargs: { BASE_IMAGE: base.name, BASE_NAME: base.name, VERSION: version, BUILD_ID: hash },
    });
    await followProgress(docker, stream);
  } catch (error) {
    throw new WormholeError('IMAGE_BUILD_FAILED', `the image ${name}: ${messageOf(error)}`, {
      cause: error,
    });
  } finally {
    // The build stage is four times as large as the image, and no later build can use it.
    await docker.pruneImages({ filters: { dangling: ['true'], label: [`wormhole.dev/build=${hash}`] } });
  }
}

/** Removes the images of older sources but for the newest few; one that is in use stays. */
async function removeOldImages(docker: Dockerode, repository: string): Promise<void> {
  const images = await docker.listImages({ filters: { reference: [repository] } });
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
