import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, WormholeError } from '../errors.ts';
import { runCommand } from './command.ts';
import { installPackages } from './debian.ts';
import { Leases } from './leases.ts';
import { withLock } from './lock.ts';
import { unmountBelow } from './mounts.ts';
import { answers } from './ping.ts';

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 30_000;
const POLL_MS = 50;
/** Leaves room for the engine's own sockets below the folder within what a Unix socket path may have (unix(7)). */
const FOLDER_LENGTH = 60;
const DOCKERD = ['/usr/sbin/dockerd', '/usr/bin/dockerd', '/usr/local/bin/dockerd'];
const LOG_LINES_SHOWN = 15;

/**
 * A Docker Engine of our own on Debian or Ubuntu, run by root: no system service, its own data, no bridge and no
 * firewall rule, because runs have no network. All who use it at the same time share it; the last one stops it.
 */
export class PrivateEngine {
  readonly socketPath: string;
  readonly #folder: string;
  readonly #leases: Leases;
  readonly #onProgress: (step: string) => void;

  /** @param cacheDir - the platform's cache folder; everything of the engine lies in `engine` below it. */
  constructor(cacheDir: string, onProgress: (step: string) => void) {
    this.#folder = join(cacheDir, 'engine');
    this.socketPath = join(this.#folder, 'docker.sock');
    this.#leases = new Leases(join(this.#folder, 'leases'));
    this.#onProgress = onProgress;
  }

  /**
   * Uses the engine if it already runs.
   * @returns the lease to give back with `release`, or undefined when it does not run.
   */
  async acquireRunning(): Promise<string | undefined> {
    if (!existsSync(this.socketPath)) return undefined;
    return await this.#locked(async () =>
      (await answers(this.socketPath)) ? this.#leases.take() : undefined,
    );
  }

  /**
   * Starts the engine if it does not run, after installing it if it is not there.
   * @returns the lease to give back with `release`.
   * @throws {WormholeError} ENGINE_UNAVAILABLE when it cannot be installed or does not start.
   */
  async acquire(): Promise<string> {
    if (this.#folder.length > FOLDER_LENGTH) {
      throw new WormholeError(
        'ENGINE_UNAVAILABLE',
        `the container engine's folder "${this.#folder}" is longer than the ${FOLDER_LENGTH} characters that its ` +
          'Unix sockets leave: set WORMHOLE_CACHE_DIR to a shorter path',
      );
    }
    return await this.#locked(async () => {
      if (!(await answers(this.socketPath))) await this.#start();
      return this.#leases.take();
    });
  }

  /** Ends one use. The last one stops the engine, and with it every container that is still there. */
  async release(lease: string): Promise<void> {
    await this.#locked(async () => {
      this.#leases.drop(lease);
      if (this.#leases.live().length > 0) return;
      this.#onProgress('stopping the private container engine');
      // Containers outlive an engine that was killed; only an engine knows how to end them.
      if (!(await answers(this.socketPath))) await this.#start();
      await this.#endProcesses();
      await unmountBelow(this.#folder);
    });
  }

  async #locked<T>(work: () => Promise<T>): Promise<T> {
    return await withLock(join(this.#folder, 'lock'), work);
  }

  async #start(): Promise<void> {
    const dockerd = await this.#findOrInstall();
    await this.#endProcesses();
    this.#onProgress(`starting a private container engine (data in ${this.#folder})`);
    const logFile = join(this.#folder, 'dockerd.log');
    mkdirSync(this.#folder, { recursive: true, mode: 0o711 });
    const log = openSync(logFile, 'w');
    const args = [
      ...['--data-root', join(this.#folder, 'data')],
      ...['--exec-root', join(this.#folder, 'exec')],
      ...['--pidfile', this.#pidFile],
      ...['--host', `unix://${this.socketPath}`],
      ...['--bridge=none', '--iptables=false', '--ip6tables=false', '--ip-forward=false', '--ip-masq=false'],
    ];
    const child = spawn(dockerd, args, { detached: true, stdio: ['ignore', log, log] });
    closeSync(log);
    const ended = Promise.withResolvers<string>();
    child.once('error', (error) => ended.resolve(error.message));
    child.once('exit', (code, signal) =>
      ended.resolve(`it ended with ${signal ?? `exit code ${code ?? '?'}`}`),
    );
    const giveUp = AbortSignal.timeout(START_TIMEOUT_MS);
    while (!(await answers(this.socketPath))) {
      const failure = giveUp.aborted
        ? `it did not answer within ${START_TIMEOUT_MS / 1000} s`
        : await Promise.race([ended.promise, sleep(POLL_MS)]);
      if (failure === undefined) continue;
      child.kill('SIGKILL');
      const lines = readFileSync(logFile, 'utf8').trim().split('\n').slice(-LOG_LINES_SHOWN).join('\n');
      throw new WormholeError(
        'ENGINE_UNAVAILABLE',
        `the private container engine did not start: ${failure}. Its log, ${logFile}, ends with:\n${lines}`,
      );
    }
    child.removeAllListeners();
    child.unref();
  }

  async #findOrInstall(): Promise<string> {
    const present = DOCKERD.find((path) => existsSync(path));
    if (present !== undefined) return present;
    try {
      await installPackages(['docker.io'], this.#onProgress);
      // The packages enable their services for the next boot; ours is the only engine that was asked for.
      await runCommand('deb-systemd-helper', [
        'disable',
        'docker.service',
        'docker.socket',
        'containerd.service',
      ]);
    } catch (error) {
      throw new WormholeError('ENGINE_UNAVAILABLE', `docker.io could not be installed: ${messageOf(error)}`, {
        cause: error,
      });
    }
    const installed = DOCKERD.find((path) => existsSync(path));
    if (installed === undefined) {
      throw new WormholeError('ENGINE_UNAVAILABLE', 'the package docker.io brought no dockerd: reinstall it');
    }
    return installed;
  }

  get #pidFile(): string {
    return join(this.#folder, 'dockerd.pid');
  }

  /** Ends the engine if it runs, and removes what a killed one leaves: its successor would take pid files for live processes. */
  async #endProcesses(): Promise<void> {
    const containerdPidFile = join(this.#folder, 'exec', 'containerd', 'containerd.pid');
    await this.#end(this.#pidFile, 'SIGTERM');
    await this.#end(this.#pidFile, 'SIGKILL');
    await this.#end(containerdPidFile, 'SIGKILL');
    for (const file of [this.#pidFile, containerdPidFile, this.socketPath]) rmSync(file, { force: true });
  }

  /** Signals the process that a pid file names, if it is one of ours, and waits for its end. */
  async #end(pidFile: string, signal: NodeJS.Signals): Promise<void> {
    if (!existsSync(pidFile)) return;
    const pid = Number(readFileSync(pidFile, 'utf8'));
    const isOurs = (): boolean => {
      const commandLine = `/proc/${pid}/cmdline`;
      return existsSync(commandLine) && readFileSync(commandLine, 'utf8').includes(`${this.#folder}/`);
    };
    if (!isOurs()) return;
    process.kill(pid, signal);
    const giveUp = AbortSignal.timeout(STOP_TIMEOUT_MS);
    while (isOurs() && !giveUp.aborted) await sleep(POLL_MS);
  }
}
