import Dockerode from 'dockerode';
import { messageOf } from '../../controller/errors.ts';
import type { Requirement } from './requires.ts';

/** The container engine of DOCKER_HOST, or the system's. */
export const docker: Requirement<Dockerode> = async () => {
  const socketPath = (process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock').replace(/^unix:\/\//, '');
  const engine = new Dockerode({ socketPath });
  try {
    await engine.ping();
    return { value: engine };
  } catch (error) {
    return { missing: `a container engine (${messageOf(error)})` };
  }
};
