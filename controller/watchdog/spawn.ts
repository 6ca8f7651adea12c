import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Socket } from 'node:net';
import { join } from 'node:path';

const RESPAWN_MS = 1_000;

/** A watchdog process. */
export interface WatchdogProcess {
  /** Its process id at the moment; undefined while it is being started again. */
  readonly pid: number | undefined;
  /** Ends it at once, whatever is still alive. Idempotent. */
  stop(): Promise<void>;
}

export interface StartWatchdogOptions {
  /** Path of the engine's Unix socket. */
  readonly dockerSocket: string;
  readonly instance: string;
  /** See {@link WatchdogOptions.graceMs}. */
  readonly graceMs: number;
  /**
   * Where its log goes: a file descriptor, ours, or nowhere.
   * @default 'inherit'
   */
  readonly stderr?: number | 'inherit' | 'ignore';
}

/**
 * Starts the watchdog in a process group of its own, so that neither Ctrl-C in a terminal nor the end of this
 * process takes it along: it stays until the last run container has ended. One that dies is started again.
 */
export function startWatchdog(options: StartWatchdogOptions): WatchdogProcess {
  let child = spawnOnce(options);
  let stopping = false;
  let respawn: NodeJS.Timeout | undefined;

  function keepAlive(): void {
    const again = (): void => {
      if (stopping) return;
      respawn = setTimeout(() => {
        child = spawnOnce(options);
        keepAlive();
      }, RESPAWN_MS);
      respawn.unref();
    };
    child.once('exit', again).once('error', again);
  }
  keepAlive();

  return {
    get pid() {
      return isAlive(child) ? child.pid : undefined;
    },
    stop: async () => {
      stopping = true;
      clearTimeout(respawn);
      if (!isAlive(child)) return;
      const exited = once(child, 'exit');
      child.ref();
      child.kill('SIGTERM');
      await exited;
    },
  };
}

function spawnOnce({
  dockerSocket,
  instance,
  graceMs,
  stderr = 'inherit',
}: StartWatchdogOptions): ChildProcess {
  const child = spawn(
    process.execPath,
    [
      join(import.meta.dirname, 'main.ts'),
      ...['--docker-socket', dockerSocket],
      ...['--instance', instance],
      ...['--grace-ms', String(graceMs)],
    ],
    // It needs none of our environment, which may hold secrets.
    { detached: true, stdio: ['pipe', 'ignore', stderr], env: {} },
  );
  // It must not keep us alive.
  child.unref();
  if (child.stdin instanceof Socket) child.stdin.unref();
  child.stdin?.on('error', () => undefined);
  return child;
}

const isAlive = (child: ChildProcess): boolean =>
  child.pid !== undefined && child.exitCode === null && child.signalCode === null;
