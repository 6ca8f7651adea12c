import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const RESTART_AFTER_MS = 500;
const LINES_SHOWN = 15;

/** A command line, the program first. */
export type Command = readonly [string, ...string[]];

/** @returns the command as one that Linux kills when its parent has ended, however it did (setpriv(1)). */
export function dyingWithParent(command: Command): Command {
  return process.platform === 'linux' ? ['setpriv', '--pdeathsig', 'KILL', '--', ...command] : command;
}

/**
 * A server of a cluster: writes `<name>.log` and `<name>.pid` in the cluster's folder, dies with this process, and is
 * started again when it ends before `stop`, as a service manager would.
 */
export class ServerProcess {
  readonly name: string;
  readonly #command: Command;
  readonly #folder: string;
  readonly #log: (message: string) => void;
  #child: ChildProcess | undefined;
  #stopping = false;

  constructor(name: string, command: Command, folder: string, log: (message: string) => void) {
    this.name = name;
    this.#command = dyingWithParent(command);
    this.#folder = folder;
    this.#log = log;
    this.#start();
  }

  /** The end of what it wrote, for an error message. */
  lastLines(): string {
    return readFileSync(this.#logFile, 'utf8').trim().split('\n').slice(-LINES_SHOWN).join('\n');
  }

  /** Kills it and waits for its end. Its data is thrown away, so there is nothing that it should finish first. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  get #logFile(): string {
    return join(this.#folder, `${this.name}.log`);
  }

  #start(): void {
    const output = openSync(this.#logFile, 'a');
    const child = spawn(this.#command[0], this.#command.slice(1), {
      cwd: this.#folder,
      // Of the environment only what programs are found by: a proxy or a KUBECONFIG is not meant for a server.
      env: { PATH: process.env['PATH'], HOME: this.#folder, TMPDIR: this.#folder },
      stdio: ['ignore', output, output],
      // Ctrl-C on a terminal is for us, who then end it.
      detached: true,
    });
    closeSync(output);
    child.on('error', (error) => this.#log(`${this.name}: ${error.message}`));
    child.on('exit', (code, signal) => {
      if (this.#stopping) return;
      this.#log(`${this.name} ended (${signal ?? `exit code ${code ?? '?'}`}) and is started again`);
      void sleep(RESTART_AFTER_MS).then(() => {
        if (!this.#stopping) this.#start();
      });
    });
    this.#child = child;
    if (child.pid !== undefined) writeFileSync(join(this.#folder, `${this.name}.pid`), `${child.pid}\n`);
  }
}
