import type { ContainerCreateOptions, HostConfig, MountSettings } from 'dockerode';
import { attemptName, type AttemptRef } from '../../model/ids.ts';
import { LABELS, MANAGED_BY } from '../../model/labels.ts';
import type { AttemptSpec } from '../types.ts';

/** Where a run's container sees its folder. */
export const RUN_MOUNT = '/run/wormhole';
/** Where it sees the folder of its egress socket, if that is another. */
export const EGRESS_MOUNT = '/run/wormhole-egress';
/** The runner's uid and gid: no account of any image or host. */
export const RUNNER_UID = 65532;

const MIB = 1024 * 1024;
/** The runner exits within 5 s of SIGTERM (docs/gateway-protocol.md). */
const STOP_TIMEOUT_S = 5;

/** What differs between platforms rather than between runs. */
export interface ContainerSecurity {
  /**
   * OCI runtime of the run containers, as the engine knows it, e.g. `runsc` for gVisor.
   * @default - the engine's own
   */
  readonly runtime?: string;
}

/** What a container is made from besides the attempt itself. */
export interface ContainerSpecOptions {
  readonly image: string;
  readonly instance: string;
  /** The run's folder on the host; mounted read-only. */
  readonly folder: string;
  /** The folder of its egress socket on the host; mounted read-only. @default - the socket is in `folder` */
  readonly egressFolder?: string | undefined;
  readonly security: ContainerSecurity;
}

/** The Engine API's `POST /containers/create`, with what its type definitions lack. */
export type ContainerSpec = ContainerCreateOptions & { HostConfig: HostConfig & { CgroupnsMode: 'private' } };

/** @returns the name of the attempt's container: the same for the same attempt, so the engine refuses a second. */
export const containerName = (instance: string, ref: AttemptRef): string =>
  `wh-${instance}-${attemptName(ref)}`;

/** @returns the labels that say whose container it is. They are how a container is recognised as ours. */
export const identityLabels = (instance: string, ref: AttemptRef): Readonly<Record<string, string>> => ({
  [LABELS.managedBy]: MANAGED_BY,
  [LABELS.component]: 'run',
  [LABELS.instance]: instance,
  [LABELS.runId]: ref.runId,
  [LABELS.attempt]: String(ref.attempt),
});

/**
 * Translates an attempt into what the Engine API is asked to create. Pure.
 * The checks behind the choices are those of the CIS Docker Benchmark, section 5.
 */
export function containerSpec(spec: AttemptSpec, options: ContainerSpecOptions): ContainerSpec {
  const memory = spec.limits.memoryMb * MIB;
  return {
    name: containerName(options.instance, spec),
    Image: options.image,
    Labels: {
      ...identityLabels(options.instance, spec),
      [LABELS.tenantId]: spec.tenantId,
      [LABELS.workflowVersionId]: spec.workflowVersionId,
      [LABELS.mode]: 'cold',
      [LABELS.deadline]: String(Math.round(Date.now() + spec.deadlineInMs)),
    },
    // The same in every container: a host name tells a run nothing about another.
    Hostname: 'run',
    User: `${RUNNER_UID}:${RUNNER_UID}`,
    Env: [
      `WORMHOLE_GATEWAY_URL=unix:${RUN_MOUNT}/gateway.sock`,
      `WORMHOLE_CLAIM_TOKEN_FILE=${RUN_MOUNT}/claim-token`,
    ],
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    OpenStdin: false,
    Tty: false,
    StopSignal: 'SIGTERM',
    StopTimeout: STOP_TIMEOUT_S,
    // A health check of the image would be a second process, started from outside.
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      ...(options.security.runtime === undefined ? {} : { Runtime: options.security.runtime }),
      NetworkMode: 'none',
      // No /dev/shm at all: /tmp is the one place that can be written.
      IpcMode: 'none',
      CgroupnsMode: 'private',
      Privileged: false,
      ReadonlyRootfs: true,
      CapDrop: ['ALL'],
      // Seccomp is the engine's default profile: it applies as long as nothing is said about it here.
      SecurityOpt: ['no-new-privileges:true'],
      Memory: memory,
      // Memory and swap together: no swap.
      MemorySwap: memory,
      NanoCpus: Math.round(spec.limits.cpus * 1e9),
      PidsLimit: spec.limits.pids,
      // When the host itself runs out of memory, a run goes before the platform does.
      OomScoreAdj: 500,
      Ulimits: [
        { Name: 'core', Soft: 0, Hard: 0 },
        { Name: 'nofile', Soft: 1024, Hard: 1024 },
        // Message queues would be writable memory outside /tmp.
        { Name: 'msgqueue', Soft: 0, Hard: 0 },
      ],
      Tmpfs: { '/tmp': `rw,noexec,nosuid,nodev,size=${spec.limits.tmpMb}m,nr_inodes=16k,mode=1777` },
      Mounts: [
        mount(options.folder, RUN_MOUNT),
        ...(options.egressFolder === undefined ? [] : [mount(options.egressFolder, EGRESS_MOUNT)]),
      ],
      // The runner is process 1: it starts no children, and Debian's engine ships no docker-init.
      Init: false,
      RestartPolicy: { Name: 'no' },
      // The end is observed and recorded first; `remove` comes after.
      AutoRemove: false,
      // Enough for a stack trace; logs of a run go through the gateway.
      LogConfig: { Type: 'json-file', Config: { 'max-size': '64k', 'max-file': '2' } },
    },
  };
}

const mount = (source: string, target: string): MountSettings => ({
  Type: 'bind',
  Source: source,
  Target: target,
  ReadOnly: true,
  BindOptions: { Propagation: 'rprivate' },
});
