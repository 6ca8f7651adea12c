import { EGRESS_SOCKET } from '../backends/docker/run-folder.ts';
import { FolderSockets } from '../folder-sockets.ts';
import { openEgressProxy } from '../open-egress-proxy.ts';
import { anyAddress } from './any-address.ts';
import { required, type OpenComponent } from './component.ts';
import { runDirs } from './run-dirs.ts';

/** A tunnel may be in the middle of a request; what takes longer is cut off. */
const DRAIN_MS = 40_000;

/**
 * The egress proxy: no database, no access to the API server or the container engine; grants say what each run may reach.
 * In a cluster it listens on TCP, on one machine on a socket in the folder of every run.
 */
export const openEgressProxyComponent: OpenComponent = async ({ config, probes, metrics, log }) => {
  const grantKey = Buffer.from(required('WORMHOLE_EGRESS_GRANT_KEY', config.egressGrantKey), 'base64');
  const proxy = openEgressProxy({ grantKey, internalServices: config.internalServices, metrics, log });
  if (config.kubernetes === undefined) {
    const { egress: dir } = runDirs(config);
    const sockets = await FolderSockets.start({
      ...{ dir, file: EGRESS_SOCKET, log },
      listen: (path, ref) => proxy.listenOn(path, ref),
    });
    probes.follow(() => Promise.resolve(sockets.reasons()));
    log.info({ dir }, 'the egress proxy listens in the run folders');
    return { stop: () => sockets.close() };
  }
  const { port } = config.kubernetes.egressProxy;
  const listener = await proxy.listenOnTcp(config.listenAddress ?? anyAddress(), port);
  probes.follow(() => Promise.resolve([]));
  log.info({ port: listener.port }, 'the egress proxy listens');
  return { stop: () => listener.close({ drainMs: DRAIN_MS }) };
};
