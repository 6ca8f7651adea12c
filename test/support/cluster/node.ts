import { join } from 'node:path';
import { runCommand } from '../../../controller/setup/command.ts';
import { apiRequest } from './api-request.ts';
import { makeCgroups } from './cgroups.ts';
import type { ControlPlane } from './control-plane.ts';
import { NODE_NAME } from './credentials.ts';
import { untilNodesReady } from './nodes-ready.ts';
import { writeNodeConfig } from './node-config.ts';
import type { NodeNamespace } from './node-namespace.ts';
import { writePauseImage } from './pause-image.ts';
import type { Place } from './place.ts';
import { ServerProcess, type Command } from './server-process.ts';
import { until } from './until.ts';

const READY_MS = 60_000;

/** A node that is ready for pods, with Services and enforced network policies. */
export interface Node {
  readonly containerdSocket: string;
  stop(): Promise<void>;
}

export interface NodeOptions {
  readonly programs: { readonly kubernetes: string; readonly kubeRouter: string; readonly pause: string };
  readonly cniPlugins: string;
  readonly place: Place;
  readonly namespace: NodeNamespace;
  readonly controlPlane: ControlPlane;
  readonly log: (message: string) => void;
}

/** Starts containerd, kubelet, kube-proxy and kube-router in the node's namespace and waits until the node is ready. */
export async function startNode(options: NodeOptions): Promise<Node> {
  const { place, programs, namespace, controlPlane, log } = options;
  const { credentials } = controlPlane;
  const config = writeNodeConfig(place, credentials, options.cniPlugins);
  makeCgroups(place.name);

  const servers: ServerProcess[] = [];
  const start = (name: string, ...command: Command): ServerProcess => {
    const server = new ServerProcess(name, namespace.inside(...command), place.folder, log);
    servers.push(server);
    return server;
  };
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()));
  };

  start('containerd', 'containerd', '--config', config.containerd, '--log-level', 'warn');
  start('kube-proxy', programs.kubernetes, 'kube-proxy', '--config', config.kubeProxy);
  try {
    const pauseArchive = join(place.folder, 'pause.tar');
    await writePauseImage(programs.pause, pauseArchive);
    const ctr = ['--address', config.containerdSocket, '--namespace', 'k8s.io'];
    await until('containerd', READY_MS, () => runCommand('ctr', [...ctr, 'images', 'import', pauseArchive]));

    const kubelet = start(
      'kubelet',
      programs.kubernetes,
      'kubelet',
      `--config=${config.kubelet}`,
      `--kubeconfig=${credentials.kubeconfig('kubelet')}`,
      `--hostname-override=${NODE_NAME}`,
      `--node-ip=${place.nodeAddress}`,
      `--root-dir=${join(place.folder, 'kubelet')}`,
      `--cert-dir=${join(place.folder, 'kubelet-pki')}`,
    );
    const admin = credentials.kubeconfig('admin');
    const path = `/api/v1/nodes/${NODE_NAME}`;
    const failure = (what: string) => (cause: unknown) => {
      throw new Error(`${what}; the kubelet's log ends with:\n${kubelet.lastLines()}`, { cause });
    };
    // kube-router wants the range; there is one node, so no controller hands ranges out.
    const range = { spec: { podCIDR: place.podRange, podCIDRs: [place.podRange] } };
    await until('the node', READY_MS, () => apiRequest(admin, path, range)).catch(
      failure('the kubelet did not register'),
    );
    start(
      'kube-router',
      programs.kubeRouter,
      `--kubeconfig=${credentials.kubeconfig('kube-router')}`,
      `--hostname-override=${NODE_NAME}`,
      ...['--run-firewall=true', '--run-router=false', '--run-service-proxy=false'],
      `--service-cluster-ip-range=${place.serviceRange}`,
      ...['--health-port=0', '--metrics-port=0'],
    );
    await untilNodesReady(admin, READY_MS).catch(failure('the node is not ready'));
  } catch (error) {
    await stop();
    throw error;
  }
  return { containerdSocket: config.containerdSocket, stop };
}
