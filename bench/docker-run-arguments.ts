import type { ContainerSpec } from '../controller/backends/docker/container-spec.ts';

/** @returns the arguments with which the `docker` command does what the Engine API is asked for by `spec`. */
export function dockerRunArguments(spec: ContainerSpec): string[] {
  const host = spec.HostConfig;
  const [entrypoint, ...firstArguments] = [spec.Entrypoint ?? []].flat();
  return [
    ...['run', '--rm'],
    ...one('name', spec.name),
    ...each('label', Object.entries(spec.Labels ?? {}).map(pair)),
    ...one('hostname', spec.Hostname),
    ...one('user', spec.User),
    ...each('env', spec.Env),
    ...one('stop-signal', spec.StopSignal),
    ...one('stop-timeout', spec.StopTimeout),
    '--no-healthcheck',
    ...one('runtime', host.Runtime),
    ...one('network', host.NetworkMode),
    ...one('ipc', host.IpcMode),
    ...one('cgroupns', host.CgroupnsMode),
    ...(host.ReadonlyRootfs === true ? ['--read-only'] : []),
    ...each('cap-drop', [host.CapDrop ?? []].flat()),
    ...each('security-opt', host.SecurityOpt as string[] | undefined),
    ...one('memory', host.Memory),
    ...one('memory-swap', host.MemorySwap),
    ...one('cpus', host.NanoCpus === undefined ? undefined : host.NanoCpus / 1e9),
    ...one('pids-limit', host.PidsLimit),
    ...one('oom-score-adj', host.OomScoreAdj),
    ...each(
      'ulimit',
      host.Ulimits?.map((limit) => `${limit.Name}=${limit.Soft}:${limit.Hard}`),
    ),
    ...each(
      'tmpfs',
      Object.entries(host.Tmpfs ?? {}).map(([path, options]) => `${path}:${options}`),
    ),
    ...each(
      'mount',
      host.Mounts?.map((mount) =>
        [
          `type=${mount.Type},source=${mount.Source},target=${mount.Target}`,
          ...(mount.ReadOnly === true ? ['readonly'] : []),
          ...(mount.BindOptions === undefined ? [] : [`bind-propagation=${mount.BindOptions.Propagation}`]),
        ].join(','),
      ),
    ),
    ...one('log-driver', host.LogConfig?.Type),
    ...each('log-opt', Object.entries((host.LogConfig?.Config ?? {}) as Record<string, string>).map(pair)),
    ...one('entrypoint', entrypoint),
    spec.Image ?? '',
    ...firstArguments,
    ...(spec.Cmd ?? []),
  ];
}

const pair = ([key, value]: [string, string]): string => `${key}=${value}`;
const one = (flag: string, value: string | number | undefined): string[] =>
  value === undefined ? [] : [`--${flag}`, String(value)];
const each = (flag: string, values: readonly string[] | undefined): string[] =>
  (values ?? []).flatMap((value) => one(flag, value));
