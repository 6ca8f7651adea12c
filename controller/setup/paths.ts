import { homedir } from 'node:os';
import { join } from 'node:path';

/** Folders outside the source tree that the platform writes to. */
export interface Paths {
  /** Things that can be made again: images, downloaded wheels, server binaries. Keyed by content. */
  readonly cacheDir: string;
  /** Things that must survive: the embedded database, the encryption key. */
  readonly stateDir: string;
}

/**
 * Where the platform keeps its files on this machine: the root user follows the FHS, everybody else the XDG base
 * directory specification. Root's folders lie outside `/root` because the embedded PostgreSQL runs as `nobody`
 * and must be able to reach them.
 */
export function defaultPaths(env: Readonly<Record<string, string | undefined>>, isRoot: boolean): Paths {
  const xdg = (name: string, fallback: string): string =>
    env[name] ?? join(env['HOME'] ?? homedir(), fallback);
  return {
    cacheDir:
      env['WORMHOLE_CACHE_DIR'] ??
      (isRoot ? '/var/cache/wormhole' : join(xdg('XDG_CACHE_HOME', '.cache'), 'wormhole')),
    stateDir:
      env['WORMHOLE_STATE_DIR'] ??
      (isRoot ? '/var/lib/wormhole' : join(xdg('XDG_STATE_HOME', '.local/state'), 'wormhole')),
  };
}
