import type { Logger } from 'pino';
import { AwaitedSockets } from '../awaited-sockets.ts';
import { DockerBackend } from '../backends/docker/docker-backend.ts';
import type { PlatformConfig } from '../config.ts';
import { WormholeError } from '../errors.ts';
import { connectEngine } from '../setup/engine.ts';
import { ensureRunnerImage } from '../setup/image.ts';
import { required } from './component.ts';
import type { RunPlace } from './controller.ts';
import { runDirs } from './run-dirs.ts';

/** Runs get containers of this machine, beside those of the platform. */
export function machineRuns(config: PlatformConfig, log: Logger): RunPlace {
  const dockerHost = required('DOCKER_HOST', config.dockerHost);
  const runnerImage = required('WORMHOLE_RUNNER_IMAGE', config.runnerImage);
  const { gateway: runDir, egress: egressDir } = runDirs(config);
  const { cacheDir } = config.paths;
  const onProgress = (step: string): void => log.info(step);
  return {
    open: async () => {
      const engine = await connectEngine({ dockerHost, cacheDir });
      const { image } = await ensureRunnerImage(engine, { cacheDir, runnerImage, onProgress });
      const backend = new DockerBackend({
        ...{ docker: engine.docker, image, instance: config.instance, runDir, egressDir, log },
        channels: new AwaitedSockets({ egressDir }),
        security: {},
      });
      // Nobody else starts runs of this instance: a folder without a container is what a dead controller left.
      await backend.removeOrphanFolders(0);
      return backend;
    },
    isAway: (error) => error instanceof WormholeError && error.code === 'ENGINE_UNAVAILABLE',
    close: () => undefined,
  };
}
