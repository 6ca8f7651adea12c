import Dockerode from 'dockerode';
import { WormholeError } from '../errors.ts';
import { Watchdog, WATCHDOG_GRACE_MS } from '../watchdog/watchdog.ts';
import { required, type OpenComponent } from './component.ts';

/** Kills the runs of this machine that outlive their deadline. It needs the container engine and nothing else. */
export const openWatchdogComponent: OpenComponent = ({ config, probes, log }) => {
  if (config.kubernetes !== undefined) {
    throw new WormholeError(
      'CONFIG_INVALID',
      'kubernetes: is declared, and in a cluster Jobs have their deadlines from Kubernetes: the watchdog is for one machine',
    );
  }
  const { protocol, pathname } = new URL(required('DOCKER_HOST', config.dockerHost));
  if (protocol !== 'unix:') {
    throw new WormholeError('CONFIG_INVALID', 'the environment: DOCKER_HOST: must be unix:///path here');
  }
  const docker = new Dockerode({ socketPath: pathname, host: undefined });
  const failed = new AbortController();
  const watchdog = new Watchdog({
    ...{ docker, log, instance: config.instance, graceMs: WATCHDOG_GRACE_MS },
    // It is needed for as long as it runs.
    released: new AbortController().signal,
  });
  watchdog.run().catch((error: unknown) => failed.abort(error));
  probes.follow(async () => {
    const answered = await docker.ping().then(
      () => true,
      () => false,
    );
    return answered ? [] : ['the container engine does not answer'];
  });
  log.info('watching the deadlines of runs');
  return Promise.resolve({ failed: failed.signal, stop: () => Promise.resolve() });
};
