import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { runCommand } from '../../../controller/setup/command.ts';
import type { Place } from './place.ts';
import { dyingWithParent, type Command } from './server-process.ts';
import { until } from './until.ts';

const GONE_MS = 10_000;

/**
 * The machine that the node believes to be: processes, mounts and network of its own, as namespaces of the kernel. When
 * its first process ends, the kernel ends all others and takes away their mounts, interfaces, routes and rules. That
 * process dies with this one, so nothing of a node outlives its owner, and nodes do not meet.
 */
export interface NodeNamespace {
  /** @returns the command as one that runs in there. */
  inside(...command: Command): Command;
  stop(): Promise<void>;
}

/** What the node would write outside the cluster's folder is in memory, and its alone. */
const MASKED = ['/run', '/var/lib', '/var/log'];
/** What a kubelet sets, or refuses to start (kubelet's setupKernelTunables): it sets these files instead of the machine. */
const KERNEL_SETTINGS = [
  'vm/overcommit_memory',
  'vm/panic_on_oom',
  'kernel/panic',
  'kernel/panic_on_oops',
  'kernel/keys/root_maxkeys',
  'kernel/keys/root_maxbytes',
];
/** $1 is process 1 of the node; what follows are the arguments of `ip`. */
const FIRST_PROCESS = [
  'set -eu',
  // Volumes of pods are mounted by the kubelet and seen by containers (Mount propagation in the Kubernetes documentation).
  'mount --make-rshared /',
  ...MASKED.map((folder) => `mount -t tmpfs -o mode=755 tmpfs ${folder}`),
  'mkdir /run/sysctl',
  ...KERNEL_SETTINGS.flatMap((setting) => {
    const copy = `/run/sysctl/${setting.replaceAll('/', '.')}`;
    return [`cat /proc/sys/${setting} > ${copy}`, `mount --bind ${copy} /proc/sys/${setting}`];
  }),
  'echo made',
  'read -r linked',
  'ip link set lo up',
  'ip address add "$2" dev eth0',
  'ip link set eth0 up',
  'ip route add default via "$3"',
  'echo 1 > /proc/sys/net/ipv4/ip_forward',
  'echo ready',
  'exec "$1"',
].join('\n');

/**
 * Makes the namespaces and the link between them and this machine, over which this machine also reaches pods and Services.
 * @param pause - modules/pause
 */
export async function makeNodeNamespace(pause: string, place: Place): Promise<NodeNamespace> {
  const masked = MASKED.find((folder) => `${place.folder}/`.startsWith(`${folder}/`));
  if (masked !== undefined) {
    throw new Error(`a cluster's folder cannot be below ${masked}: set WORMHOLE_CACHE_DIR to another folder`);
  }
  const command = dyingWithParent([
    ...(['unshare', '--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc', '--'] as const),
    ...[
      'sh',
      '-c',
      FIRST_PROCESS,
      'node',
      pause,
      `${place.nodeAddress}/${place.linkPrefix}`,
      place.hostAddress,
    ],
  ]);
  const holder = spawn(command[0], command.slice(1), { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  let errors = '';
  holder.stderr.on('data', (chunk: Buffer) => void (errors += chunk.toString()));
  const exited = once(holder, 'exit') as Promise<[number | null]>;
  const said = async (): Promise<void> => {
    const data = once(holder.stdout, 'data') as Promise<[Buffer]>;
    const [first] = await Promise.race([data, exited]);
    if (!Buffer.isBuffer(first)) throw new Error(`the node's namespaces cannot be made: ${errors.trim()}`);
  };
  const stop = async (): Promise<void> => {
    holder.kill('SIGKILL');
    if (holder.exitCode === null && holder.signalCode === null) await exited;
    await until(`the end of the interface ${place.name}`, GONE_MS, () =>
      networkInterfaces()[place.name] === undefined
        ? Promise.resolve()
        : Promise.reject(new Error('the kernel still has it')),
    );
  };
  const pid = String(holder.pid);
  try {
    await said();
    await link(place, pid);
    holder.stdin.end('\n');
    await said();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    inside: (...inner) => [
      ...([
        'nsenter',
        `--target=${pid}`,
        '--mount',
        '--net',
        `--pid=/proc/${pid}/ns/pid_for_children`,
        '--',
      ] as const),
      ...inner,
    ],
    stop,
  };
}

async function link(place: Place, pid: string): Promise<void> {
  const ip = (...args: string[]): Promise<string> => runCommand('ip', args);
  await ip('link', 'add', place.name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', pid);
  await ip('address', 'add', `${place.hostAddress}/${place.linkPrefix}`, 'dev', place.name);
  await ip('link', 'set', place.name, 'up');
  for (const range of [place.podRange, place.serviceRange]) {
    await ip('route', 'add', range, 'via', place.nodeAddress, 'dev', place.name);
  }
}
