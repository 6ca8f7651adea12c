import { networkInterfaces } from 'node:os';
import type { Availability } from '../availability.ts';
import type { ClusterFacts } from '../cluster/facts.ts';
import { spawnCluster } from '../cluster/spawned-cluster.ts';
import type { Servers } from '../host-protocol.ts';
import type { ServerContext, StartServer, TestServer } from './server.ts';

const OWN_CLUSTER = 'WORMHOLE_TEST_KUBECONFIG';
const OWN_LOAD = 'WORMHOLE_TEST_CLUSTER_LOAD';

/** The cluster of WORMHOLE_TEST_KUBECONFIG, or one of our own with a node. */
export const startTestCluster: StartServer<Servers['cluster']> = async (context) => {
  const started = await start(context, []);
  if ('missing' in started) return started;
  const { facts, stop } = started.value;
  const { nodeAddress, ...rest } = facts;
  if (nodeAddress === null) throw new Error('a cluster with a node has its address');
  return { value: { lease: () => ({ ...rest, nodeAddress }), stop } };
};

/** The cluster of WORMHOLE_TEST_KUBECONFIG, or a control plane of our own. */
export const startTestApiServer: StartServer<Servers['apiServer']> = async (context) => {
  const started = await start(context, ['--control-plane-only']);
  if ('missing' in started) return started;
  const { facts, stop } = started.value;
  return { value: { lease: () => facts, stop } };
};

async function start(
  { log }: ServerContext,
  args: readonly string[],
): Promise<Availability<{ readonly facts: ClusterFacts; readonly stop: TestServer<unknown>['stop'] }>> {
  const kubeconfig = process.env[OWN_CLUSTER];
  if (kubeconfig !== undefined)
    return { value: { facts: existing(kubeconfig), stop: () => Promise.resolve() } };
  const spawned = await spawnCluster(args, log);
  return 'missing' in spawned
    ? { missing: `a Kubernetes cluster: set ${OWN_CLUSTER}, or ${spawned.missing}` }
    : spawned;
}

function existing(kubeconfig: string): ClusterFacts {
  const load = process.env[OWN_LOAD];
  return {
    kubeconfig,
    kubectl: ['kubectl', '--kubeconfig', kubeconfig],
    auditLog: null,
    nodeAddress: ownAddress(),
    loadImage: load === undefined ? null : ['sh', '-c', `${load} "$1"`, 'sh'],
  };
}

/** @returns the first address of this machine that others may reach. */
function ownAddress(): string {
  const found = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ family, internal }) => family === 'IPv4' && !internal);
  return found?.address ?? '127.0.0.1';
}
