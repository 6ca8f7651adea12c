import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import Dockerode from 'dockerode';

const run = promisify(execFile);
const START_MS = 30_000;

/** A container engine of a test's own, to be killed and started again. Needs root and `dockerd`. */
export class SecondEngine {
  readonly docker: Dockerode;
  readonly socketPath: string;
  readonly #folder: string;
  readonly #log: string | undefined;
  #daemon: ChildProcess | undefined;

  /** An engine in this folder, which has none that runs, but perhaps what one has left. @param log gets what it says. */
  constructor(folder: string, log?: string) {
    this.#folder = folder;
    this.#log = log;
    this.socketPath = join(folder, 's');
    this.docker = new Dockerode({ socketPath: this.socketPath, host: undefined });
  }

  /** Makes an engine without images and starts it. */
  static async start(options: { readonly liveRestore?: boolean } = {}): Promise<SecondEngine> {
    const engine = new SecondEngine(await mkdtemp(join(tmpdir(), 'e-')));
    await engine.up(options);
    return engine;
  }

  /** Starts the engine, and waits until it answers. */
  async up({ liveRestore = false }: { readonly liveRestore?: boolean } = {}): Promise<void> {
    const at = (name: string): string => join(this.#folder, name);
    // Left by a containerd that died with its killed parent: the next dockerd waits for that one, in vain.
    await rm(join(this.#folder, 'x', 'containerd', 'containerd.pid'), { force: true });
    const output = this.#log === undefined ? 'ignore' : openSync(this.#log, 'a');
    this.#daemon = spawn(
      'dockerd',
      [
        ...[
          '--data-root',
          at('data'),
          '--exec-root',
          at('x'),
          '--pidfile',
          at('pid'),
          '-H',
          `unix://${this.socketPath}`,
        ],
        ...['--bridge=none', '--iptables=false', '--ip-forward=false', '--ip-masq=false'],
        ...(liveRestore ? ['--live-restore'] : []),
      ],
      // Its containerd writes stack dumps to the temporary folder: they go with the engine.
      { stdio: ['ignore', output, output], env: { ...process.env, TMPDIR: this.#folder } },
    );
    if (typeof output === 'number') closeSync(output);
    const until = Date.now() + START_MS;
    while (
      !(await this.docker.ping().then(
        () => true,
        () => false,
      ))
    ) {
      if (Date.now() > until) throw new Error(`the second engine did not answer within ${START_MS} ms`);
      await delay(100);
    }
  }

  /** Ends the engine's process by `signal`, and waits for it. With SIGKILL its containers live on at first. */
  async down(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const daemon = this.#daemon;
    if (daemon === undefined || daemon.exitCode !== null || daemon.signalCode !== null) return;
    const exited = once(daemon, 'exit');
    daemon.kill(signal);
    await exited;
  }

  /** Removes the engine with all its containers. */
  async dispose(): Promise<void> {
    await this.down('SIGKILL');
    // Started again without live restore it ends the containers, and then takes its containerd along.
    await this.up();
    for (const { Id } of await this.docker.listContainers({ all: true })) {
      await this.docker.getContainer(Id).remove({ force: true });
    }
    await this.down('SIGTERM');
    // The engine mounts its data folder on itself, and leaves that when it was killed before.
    const mounts = (await readFile('/proc/self/mountinfo', 'utf8'))
      .split('\n')
      .map((line) => line.split(' ')[4] ?? '');
    for (const mount of mounts.filter((m) => m.startsWith(`${this.#folder}/`)).reverse()) {
      await run('umount', [mount]);
    }
    await rm(this.#folder, { recursive: true, force: true });
  }
}
