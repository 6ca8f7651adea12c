import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';

const CLI = fileURLToPath(new URL('../controller/cli/main.ts', import.meta.url));
const PROBE = new URL('memory-probe.ts', import.meta.url).href;
/** What the controller logs when it leads and everything is open. */
const TAKING_RUNS = '"taking runs"';
const START_MS = 60_000;
const STOP_MS = 20_000;
const POLL_MS = 50;
const LINES_SHOWN = 5;

export interface ControllerProcessOptions {
  /** The declared file. */
  readonly config: string;
  readonly env: Readonly<Record<string, string>>;
  /** Where its log goes. */
  readonly logFile: string;
  readonly signal: AbortSignal;
}

/** `wormhole controller` in a process of its own, as a cluster runs it. */
export class ControllerProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#exited = once(child, 'exit');
  }

  /** Starts it and waits until it takes runs. @throws with the end of its log; the signal's reason. */
  static async start({ config, env, logFile, signal }: ControllerProcessOptions): Promise<ControllerProcess> {
    const log = await open(logFile, 'w');
    // In a session of its own: Ctrl-C in the terminal reaches it through us.
    const child = spawn(
      process.execPath,
      ['--expose-gc', '--import', PROBE, CLI, 'controller', '--config', config],
      { env, stdio: ['ignore', log.fd, log.fd, 'ipc'], detached: true },
    );
    await log.close();
    const controller = new ControllerProcess(child);
    const giveUpAt = Date.now() + START_MS;
    for (;;) {
      const text = await readFile(logFile, 'utf8');
      if (text.includes(TAKING_RUNS)) return controller;
      if (child.exitCode !== null || signal.aborted || Date.now() > giveUpAt) {
        await controller.stop();
        signal.throwIfAborted();
        const end = text.trim().split('\n').slice(-LINES_SHOWN).join('\n');
        throw new Error(`the controller did not start; its log ends with:\n${end}`);
      }
      await delay(POLL_MS);
    }
  }

  /** @returns what it uses once all garbage is collected, in bytes. */
  async memory(): Promise<NodeJS.MemoryUsage> {
    const answered = once(this.#child, 'message') as Promise<[NodeJS.MemoryUsage]>;
    this.#child.send('measure');
    const ended = this.#exited.then(() => Promise.reject(new Error('the controller ended by itself')));
    const [usage] = await Promise.race([answered, ended]);
    return usage;
  }

  /** Ends it: it gives up the lead and leaves live runs alone. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGTERM');
    const patience = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS);
    await this.#exited;
    clearTimeout(patience);
  }
}
