import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { NODE_NAME, type Credentials } from './credentials.ts';
import { PAUSE_IMAGE } from './pause-image.ts';
import type { Place } from './place.ts';

/** Paths of the configuration of the node's servers. */
export interface NodeConfig {
  readonly containerd: string;
  readonly containerdSocket: string;
  readonly kubelet: string;
  readonly kubeProxy: string;
}

/** Writes what the node's servers read; all of theirs lies in the cluster's folder. */
export function writeNodeConfig(place: Place, credentials: Credentials, cniPlugins: string): NodeConfig {
  const at = (...names: string[]): string => join(place.folder, ...names);
  const write = (content: string, ...names: string[]): string => {
    const path = at(...names);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    return path;
  };
  const containerdSocket = at('containerd.sock');
  write(JSON.stringify(podNetwork(place)), 'cni', '10-pods.conflist');
  const resolver = write('', 'resolv.conf');
  return {
    containerdSocket,
    containerd: write(containerd(at, cniPlugins), 'containerd.toml'),
    kubelet: write(
      JSON.stringify({
        apiVersion: 'kubelet.config.k8s.io/v1beta1',
        kind: 'KubeletConfiguration',
        address: place.nodeAddress,
        healthzPort: 0,
        authentication: {
          anonymous: { enabled: false },
          webhook: { enabled: true },
          x509: { clientCAFile: credentials.authority },
        },
        authorization: { mode: 'Webhook' },
        containerRuntimeEndpoint: `unix://${containerdSocket}`,
        cgroupDriver: 'cgroupfs',
        cgroupRoot: `/${place.name}`,
        enforceNodeAllocatable: [],
        failCgroupV1: false,
        failSwapOn: false,
        // How full this machine's disk is, is not the cluster's business.
        evictionHard: { 'memory.available': '50Mi' },
        imageGCHighThresholdPercent: 100,
        imageMinimumGCAge: '24h',
        resolvConf: resolver,
        podLogsDir: at('pod-logs'),
        volumePluginDir: at('volume-plugins'),
      }),
      'kubelet.json',
    ),
    kubeProxy: write(
      JSON.stringify({
        apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
        kind: 'KubeProxyConfiguration',
        mode: 'nftables',
        hostnameOverride: NODE_NAME,
        clusterCIDR: place.podRange,
        clientConnection: { kubeconfig: credentials.kubeconfig('kube-proxy') },
        // Limits of the whole machine's kernel stay as they are.
        conntrack: { maxPerCore: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
      }),
      'kube-proxy.json',
    ),
  };
}

function containerd(at: (...names: string[]) => string, cniPlugins: string): string {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  return `version = 2
root = "${at('containerd')}"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "${at('containerd.sock')}"
[plugins."io.containerd.internal.v1.opt"]
path = "${at('containerd', 'opt')}"
[${cri}]
sandbox_image = "${PAUSE_IMAGE}"
# Not every machine lets a process be less likely to be ended for want of memory.
restrict_oom_score_adj = true
[${cri}.cni]
bin_dir = "${cniPlugins}"
conf_dir = "${at('cni')}"
[${cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[${cri}.containerd.runtimes.runc.options]
SystemdCgroup = false
`;
}

function podNetwork(place: Place): object {
  return {
    cniVersion: '0.4.0',
    name: 'pods',
    plugins: [
      {
        type: 'bridge',
        bridge: 'pods',
        isGateway: true,
        hairpinMode: true,
        ipam: {
          type: 'host-local',
          ranges: [[{ subnet: place.podRange, gateway: place.podGateway }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
    ],
  };
}
