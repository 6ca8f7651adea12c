import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Dockerode from 'dockerode';
import { runCommand } from '../../../controller/setup/command.ts';
import { withLock } from '../../../controller/setup/lock.ts';
import { dyingWithParent } from '../cluster/server-process.ts';
import { until } from '../cluster/until.ts';

const START_MS = 60_000;
const STOP_MS = 30_000;

/** $1 is the folder of the data, $2 the socket. */
const FIRST_PROCESS = [
  'set -eu',
  'mount --make-rprivate /',
  'mount -t tmpfs -o mode=755 tmpfs /run',
  'ip link set lo up',
  'exec dockerd --data-root "$1" --exec-root /run/docker --pidfile /run/docker.pid --host "unix://$2"',
].join('\n');

/**
 * A container engine with bridge networks and a firewall, as Compose needs one: in namespaces of its own, so that neither
 * interfaces nor rules nor processes of it are this machine's, and `/run` is its own. Its images stay for the next time.
 * One at a time uses a cache folder. Needs root.
 */
export class BridgedEngine implements AsyncDisposable {
  readonly docker: Dockerode;
  readonly socketPath: string;
  /** The engine's files: `volumes` and `containers` are in it. */
  readonly dataDir: string;
  readonly #folder: string;
  readonly #holder: ChildProcess;
  readonly #unlock: () => void;

  private constructor(folder: string, dataDir: string, holder: ChildProcess, unlock: () => void) {
    this.#folder = folder;
    this.dataDir = dataDir;
    this.socketPath = join(folder, 's');
    this.#holder = holder;
    this.#unlock = unlock;
    this.docker = new Dockerode({ socketPath: this.socketPath, host: undefined });
  }

  static async start(cacheDir: string): Promise<BridgedEngine> {
    const base = join(cacheDir, 'compose-engine');
    const dataDir = join(base, 'data');
    await mkdir(dataDir, { recursive: true });
    const unlock = await lock(join(base, 'lock'));
    const folder = await mkdtemp(join(tmpdir(), 'c-'));
    const log = openSync(join(base, 'dockerd.log'), 'w');
    const [program, ...args] = dyingWithParent([
      ...(['unshare', '--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc', '--'] as const),
      ...['sh', '-c', FIRST_PROCESS, 'engine', dataDir, join(folder, 's')],
    ]);
    const holder = spawn(program, args, {
      stdio: ['ignore', log, log],
      detached: true,
      env: { PATH: process.env['PATH'], HOME: folder, TMPDIR: folder },
    });
    closeSync(log);
    const engine = new BridgedEngine(folder, dataDir, holder, unlock);
    try {
      await until('the container engine with networks', START_MS, () => engine.docker.ping());
      await engine.#removeAll();
      return engine;
    } catch (error) {
      await engine[Symbol.asyncDispose]();
      const text = await readFile(join(base, 'dockerd.log'), 'utf8');
      throw new Error(`no container engine with networks: ${text.trim().split('\n').slice(-10).join('\n')}`, {
        cause: error,
      });
    }
  }

  /** Runs a program where the engine's processes and its `/run` are seen. @returns what it printed. */
  async inside(program: string, ...args: string[]): Promise<string> {
    const pid = String(await this.#daemonPid());
    return await runCommand('nsenter', [`--target=${pid}`, '--mount', '--pid', '--', program, ...args]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#holder.exitCode === null && this.#holder.signalCode === null) {
        await this.#removeAll().catch(() => undefined);
        const exited = once(this.#holder, 'exit');
        const timer = setTimeout(() => this.#holder.kill('SIGKILL'), STOP_MS);
        process.kill(await this.#daemonPid(), 'SIGTERM');
        await exited;
        clearTimeout(timer);
      }
    } finally {
      await rm(this.#folder, { recursive: true, force: true });
      this.#unlock();
    }
  }

  /** The engine's process is the one child of the one that holds the namespaces. */
  async #daemonPid(): Promise<number> {
    const pid = String(this.#holder.pid);
    return Number((await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim());
  }

  /** What an earlier user left that was killed, and what is left when this one ends. */
  async #removeAll(): Promise<void> {
    const { docker } = this;
    for (const { Id } of await docker.listContainers({ all: true })) {
      await docker.getContainer(Id).remove({ force: true, v: true });
    }
    const { Volumes: volumes } = await docker.listVolumes();
    for (const { Name } of volumes) await docker.getVolume(Name).remove();
    await docker.pruneNetworks();
  }
}

/** @returns what gives the lock back. */
async function lock(file: string): Promise<() => void> {
  const taken = Promise.withResolvers<undefined>();
  const given = Promise.withResolvers<undefined>();
  withLock(file, () => {
    taken.resolve(undefined);
    return given.promise;
  }).catch(taken.reject);
  await taken.promise;
  return () => given.resolve(undefined);
}
