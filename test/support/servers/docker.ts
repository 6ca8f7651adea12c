import { connectEngine } from '../../../controller/setup/engine.ts';
import { WormholeError } from '../../../controller/errors.ts';
import type { Servers } from '../host-protocol.ts';
import type { StartServer } from './server.ts';

/** The container engine that the platform itself would use: found, or on Debian as root installed and started. */
export const startTestDocker: StartServer<Servers['docker']> = async ({ cacheDir, log }) => {
  try {
    const engine = await connectEngine({ dockerHost: process.env['DOCKER_HOST'], cacheDir, onProgress: log });
    const { socketPath, host, port } = engine.docker.modem as ModemAddress;
    const dockerHost =
      socketPath === undefined ? `tcp://${host ?? ''}:${port ?? ''}` : `unix://${socketPath}`;
    return { value: { lease: () => dockerHost, stop: () => engine.release() } };
  } catch (error) {
    if (error instanceof WormholeError && error.code === 'ENGINE_UNAVAILABLE')
      return { missing: error.message };
    throw error;
  }
};

/** What docker-modem keeps of its options. */
interface ModemAddress {
  readonly socketPath?: string;
  readonly host?: string;
  readonly port?: number;
}
