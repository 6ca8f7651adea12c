import { release } from 'node:os';
import type Dockerode from 'dockerode';

/** What an engine can do, as far as isolation depends on it. */
export interface EngineFacts {
  readonly version: string;
  readonly apiVersion: string;
  readonly operatingSystem: string;
  readonly architecture: string;
  readonly cgroupVersion: string;
  /** Which OCI runtimes it has, e.g. `runc`, `runsc`. */
  readonly runtimes: readonly string[];
  /** Whether containers get a system call filter unless they ask otherwise. */
  readonly seccomp: boolean;
  /** `apparmor` or `selinux`, if the engine confines containers with one. */
  readonly accessControl: string | null;
  /** Whether the limit of each kind is enforced. */
  readonly limits: {
    readonly cpu: boolean;
    readonly memory: boolean;
    readonly swap: boolean;
    readonly pids: boolean;
  };
  /** Whether the engine itself runs without root. */
  readonly rootless: boolean;
  /** Whether root in a container is somebody else outside. */
  readonly userNamespaces: boolean;
  /** Whether a Unix socket of this process can be mounted into a container: both run on one kernel. */
  readonly sharesKernel: boolean;
  readonly cpus: number;
  readonly memoryMb: number;
  /** What isolates less than it could, in words for the operator. */
  readonly warnings: readonly string[];
}

/** The Engine API's answer to `GET /info`, as far as it is used here. */
interface Info {
  readonly OperatingSystem: string;
  readonly OSType: string;
  readonly KernelVersion: string;
  readonly Architecture: string;
  readonly CgroupVersion?: string;
  readonly Runtimes?: Readonly<Record<string, unknown>>;
  readonly SecurityOptions?: readonly string[] | null;
  readonly CpuCfsQuota: boolean;
  readonly MemoryLimit: boolean;
  readonly SwapLimit: boolean;
  readonly PidsLimit?: boolean;
  readonly NCPU: number;
  readonly MemTotal: number;
}

/** Asks an engine what it can do, and says in plain words what is missing. */
export async function inspectEngine(docker: Dockerode): Promise<EngineFacts> {
  const version = await docker.version();
  const info = (await docker.info()) as Info;
  // Each is a list such as `name=seccomp,profile=default`.
  const options = (info.SecurityOptions ?? []).map((option) => option.split(','));
  const has = (name: string): boolean => options.some((option) => option.includes(`name=${name}`));
  const facts = {
    version: version.Version,
    apiVersion: version.ApiVersion,
    operatingSystem: info.OperatingSystem,
    architecture: info.Architecture,
    cgroupVersion: info.CgroupVersion ?? '1',
    runtimes: Object.keys(info.Runtimes ?? {}).filter((name) => !name.startsWith('io.containerd.')),
    seccomp: has('seccomp') && !options.some((option) => option.includes('profile=unconfined')),
    accessControl: ['apparmor', 'selinux'].find(has) ?? null,
    limits: {
      cpu: info.CpuCfsQuota,
      memory: info.MemoryLimit,
      swap: info.SwapLimit,
      pids: info.PidsLimit ?? false,
    },
    rootless: has('rootless'),
    userNamespaces: has('userns'),
    sharesKernel: process.platform === 'linux' && info.OSType === 'linux' && info.KernelVersion === release(),
    cpus: info.NCPU,
    memoryMb: Math.round(info.MemTotal / 2 ** 20),
  };
  return { ...facts, warnings: warningsOf(facts) };
}

/** @returns one sentence for each thing that isolates less than it could. */
export function warningsOf(facts: Omit<EngineFacts, 'warnings'>): string[] {
  const { limits } = facts;
  const unenforced = Object.entries(limits).flatMap(([name, enforced]) => (enforced ? [] : [name]));
  const checks: readonly (readonly [boolean, string])[] = [
    [
      unenforced.length > 0,
      `limits that are not enforced: ${unenforced.join(', ')} (the kernel's cgroups lack them, or this rootless ` +
        'engine was not given them): one run can starve the others',
    ],
    [
      !facts.seccomp,
      'no default seccomp profile: runs may use every system call. Start the engine without seccomp-profile=unconfined',
    ],
    [
      facts.accessControl === null,
      'neither AppArmor nor SELinux: one layer of defence less between runs and the kernel',
    ],
    [
      !facts.rootless && !facts.userNamespaces,
      'no user namespaces: should a run escape as root, it is root of this machine. userns-remap or a rootless engine prevents that',
    ],
    [
      !facts.sharesKernel,
      "the engine runs in a virtual machine or on another host: Unix sockets cannot be mounted, so runs get an internal network, whose firewall is the engine's",
    ],
  ];
  return checks.flatMap(([applies, warning]) => (applies ? [warning] : []));
}
