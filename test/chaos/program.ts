import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { openSync, closeSync } from 'node:fs';
import type { Readable } from 'node:stream';

/** How a program is started, each time. */
export interface ProgramSpec {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Written to its standard input. */
  readonly input?: string;
  /** Gets its standard error, after what is there already. */
  readonly log: string;
}

/** One life of a program, in a session of its own so that Ctrl-C in a terminal reaches it only through us. */
export class Program {
  /** Its standard output. */
  readonly stdout: Readable;
  /** Resolves when it has ended. */
  readonly ended: Promise<unknown>;
  readonly #child: ChildProcess;

  /** Starts it. */
  constructor({ file, args, cwd, env, input, log }: ProgramSpec) {
    const stderr = openSync(log, 'a');
    const child = spawn(file, args, { cwd, env, detached: true, stdio: ['pipe', 'pipe', stderr] });
    closeSync(stderr);
    this.#child = child;
    this.stdout = child.stdout as Readable;
    this.ended = once(child, 'exit');
    // One that ends at once does not read it.
    child.stdin?.on('error', () => undefined).end(input);
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** What it ended with, for people. */
  get exit(): string {
    return this.#child.signalCode ?? `exit code ${this.#child.exitCode ?? 'none'}`;
  }

  /** Sends a signal; false when it has ended already. */
  signal(name: NodeJS.Signals): boolean {
    return this.isAlive && this.#child.kill(name);
  }

  /** SIGTERM, and SIGKILL after `graceMs`. @returns whether it ended by itself. */
  async stop(graceMs: number): Promise<boolean> {
    let isPatient = true;
    const timer = setTimeout(() => {
      isPatient = false;
      this.signal('SIGKILL');
    }, graceMs);
    if (this.signal('SIGTERM')) await this.ended;
    clearTimeout(timer);
    return isPatient;
  }
}
