import { WormholeError } from '../../../controller/errors.ts';
import { connectEngine, type Engine } from '../../../controller/setup/engine.ts';
import { ensureRunnerImage } from '../../../controller/setup/image.ts';
import type { Availability } from '../availability.ts';
import type { Servers } from '../host-protocol.ts';
import type { ServerContext, StartServer } from './server.ts';

/** The container engine that the platform itself would use: found, or on Debian as root installed and started. */
export const startTestDocker: StartServer<Servers['docker']> = async (context) => {
  const engine = await connect(context);
  if ('missing' in engine) return engine;
  const { socketPath, host, port } = engine.value.docker.modem as ModemAddress;
  const dockerHost = socketPath === undefined ? `tcp://${host ?? ''}:${port ?? ''}` : `unix://${socketPath}`;
  return { value: { lease: () => dockerHost, stop: () => engine.value.release() } };
};

/** The runner image of this source tree on that engine; building it the first time takes minutes. */
export const startTestRunnerImage: StartServer<Servers['runnerImage']> = async (context) => {
  const engine = await connect(context);
  if ('missing' in engine) return engine;
  try {
    const { image } = await ensureRunnerImage(engine.value, {
      cacheDir: context.cacheDir,
      runnerImage: process.env['WORMHOLE_RUNNER_IMAGE'],
      baseImage: process.env['WORMHOLE_BASE_IMAGE'],
      onProgress: context.log,
    });
    return { value: { lease: () => image, stop: () => engine.value.release() } };
  } catch (error) {
    await engine.value.release();
    throw error;
  }
};

async function connect({ cacheDir, log }: ServerContext): Promise<Availability<Engine>> {
  try {
    return {
      value: await connectEngine({ dockerHost: process.env['DOCKER_HOST'], cacheDir, onProgress: log }),
    };
  } catch (error) {
    if (error instanceof WormholeError && error.code === 'ENGINE_UNAVAILABLE') {
      return { missing: `a container engine: ${error.message}` };
    }
    throw error;
  }
}

/** What docker-modem keeps of its options. */
interface ModemAddress {
  readonly socketPath?: string;
  readonly host?: string;
  readonly port?: number;
}
