import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { spawnCluster, type SpawnedCluster } from './cluster/spawned-cluster.ts';
import type { Requirement } from './requires.ts';

/**
 * A cluster with a node for one test file alone, which may harm it: nobody else's tests suffer. Whoever gets it stops it.
 * @param args more options of `npm run cluster`.
 */
export const ownCluster =
  (...args: readonly string[]): Requirement<SpawnedCluster> =>
  () =>
    spawnCluster(args, () => undefined);

/** Kills a server of a cluster, as a crash does; the cluster starts it again half a second later. */
export function killServer(cluster: { readonly kubeconfig: string }, name: 'kube-apiserver' | 'etcd'): void {
  const pid = Number(readFileSync(join(dirname(cluster.kubeconfig), `${name}.pid`), 'utf8'));
  process.kill(pid, 'SIGKILL');
}
