import type Dockerode from 'dockerode';
import { messageOf, WormholeError } from '../errors.ts';
import type { BaseImage } from './base-image.ts';
import type { Engine } from './engine.ts';
import { hasImage, pullImage } from './engine-images.ts';
import { describeImage, ensureImage, type BuildOptions, type BuiltImage } from './image-build.ts';
import { hashOf } from './image-context.ts';
import { RUNNER_SOURCES, runnerVersion } from './runner-context.ts';
import { ensureWheels, type WheelTarget } from './wheels.ts';

/** The image that run containers are made from. */
export type RunnerImage = BuiltImage;

export interface RunnerImageOptions extends BuildOptions {
  /**
   * An image to run instead, already built; pulled if it is not on the engine.
   * @default - the image of this source tree, built if need be
   */
  readonly runnerImage?: string | undefined;
}

/**
 * Makes sure that the engine has the runner image: the one that is named, or that of this source tree.
 * @throws {WormholeError} IMAGE_BUILD_FAILED, with the end of what the build printed.
 */
export async function ensureRunnerImage(engine: Engine, options: RunnerImageOptions): Promise<RunnerImage> {
  const { docker } = engine;
  const { runnerImage, cacheDir, onProgress = () => undefined } = options;
  if (runnerImage !== undefined) {
    if (!(await hasImage(docker, runnerImage))) await pullImage(docker, runnerImage, onProgress);
    return await describeImage(docker, runnerImage, false);
  }
  return await ensureImage(
    engine,
    {
      repository: 'wormhole-runner',
      version: runnerVersion(),
      contentHash: hashOf([RUNNER_SOURCES]),
      collect: async (base) => {
        const wheels = await ensureWheels(await inspectBase(docker, base), cacheDir, onProgress);
        return [RUNNER_SOURCES, { folder: wheels, target: 'wheels' }];
      },
    },
    options,
  );
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
