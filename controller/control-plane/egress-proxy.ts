import { openEgressProxy } from '../open-egress-proxy.ts';
import { anyAddress } from './any-address.ts';
import { clusterOf, required, type OpenComponent } from './component.ts';

/** A tunnel may be in the middle of a request; what takes longer is cut off. */
const DRAIN_MS = 40_000;

/** The egress proxy of a cluster: no database, no access to the API server; grants say what each run may reach. */
export const openEgressProxyComponent: OpenComponent = async ({ config, probes, log }) => {
  const { egressProxy } = clusterOf(config);
  const grantKey = Buffer.from(required('WORMHOLE_EGRESS_GRANT_KEY', config.egressGrantKey), 'base64');
  const proxy = openEgressProxy({ grantKey, internalServices: config.internalServices, log });
  const listener = await proxy.listenOnTcp(config.listenAddress ?? anyAddress(), egressProxy.port);
  probes.follow(() => Promise.resolve([]));
  log.info({ port: listener.port }, 'the egress proxy listens');
  return { stop: () => listener.close({ drainMs: DRAIN_MS }) };
};
