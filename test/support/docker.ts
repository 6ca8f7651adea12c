import Dockerode from 'dockerode';
import { askHost } from './host-protocol.ts';
import type { Requirement } from './requires.ts';

/** The container engine of DOCKER_HOST, or the one that the platform itself would find or start. */
export const docker: Requirement<Dockerode> = async () => {
  const found = await askHost('docker');
  return 'missing' in found ? found : { value: openEngine(found.value) };
};

/** The same, once it has the runner image of this source tree, which is built here and not in a hook with its timeout. */
export const dockerWithRunnerImage: Requirement<Dockerode> = async () => {
  const image = await askHost('runnerImage');
  return 'missing' in image ? image : await docker();
};

/** @param dockerHost - `unix:///path` or `tcp://host:port`. */
export function openEngine(dockerHost: string): Dockerode {
  const { protocol, pathname, hostname, port } = new URL(dockerHost);
  return new Dockerode(
    protocol === 'unix:'
      ? { socketPath: pathname }
      : { protocol: 'http', host: hostname, port: Number(port) },
  );
}
