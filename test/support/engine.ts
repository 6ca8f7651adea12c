import { afterAll } from 'vitest';
import { messageOf, WormholeError } from '../../controller/errors.ts';
import { connectEngine, type Engine } from '../../controller/setup/engine.ts';
import { ensureControlPlaneImage } from '../../controller/setup/control-plane-image.ts';
import type { BuiltImage } from '../../controller/setup/image-build.ts';
import { ensureRunnerImage, type RunnerImage } from '../../controller/setup/image.ts';
import { defaultPaths } from '../../controller/setup/paths.ts';
import type { Requirement } from './requires.ts';

/** A container engine for one test file. */
export interface TestEngine extends Engine {
  /** The runner image of this source tree; built when first asked for, if the engine does not have it. */
  runnerImage(): Promise<RunnerImage>;
  /** The same for the control plane's. */
  controlPlaneImage(): Promise<BuiltImage>;
}

/**
 * Connects to the engine of DOCKER_HOST or, without it, to one that `wormhole` itself would use, starting it if need
 * be. Call it where tests are collected (a file's top level or a `describe`): it is released after them.
 * @throws {WormholeError} ENGINE_UNAVAILABLE
 */
export async function engineForTests(): Promise<TestEngine> {
  const { cacheDir } = defaultPaths(process.env, process.getuid?.() === 0);
  const engine = await connectEngine({ dockerHost: process.env['DOCKER_HOST'], cacheDir });
  afterAll(() => engine.release());
  let runner: Promise<RunnerImage> | undefined;
  let controlPlane: Promise<BuiltImage> | undefined;
  const build = { cacheDir, baseImage: process.env['WORMHOLE_BASE_IMAGE'] };
  return {
    ...engine,
    runnerImage: () =>
      (runner ??= ensureRunnerImage(engine, {
        ...build,
        runnerImage: process.env['WORMHOLE_RUNNER_IMAGE'],
      })),
    controlPlaneImage: () => (controlPlane ??= ensureControlPlaneImage(engine, build)),
  };
}

/** As a requirement of a suite: where no engine answers, the suite is skipped and says so. */
export const engine: Requirement<TestEngine> = async () => {
  try {
    return { value: await engineForTests() };
  } catch (error) {
    if (!(error instanceof WormholeError && error.code === 'ENGINE_UNAVAILABLE')) throw error;
    return { missing: `a container engine (${messageOf(error)})` };
  }
};
