import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Answer, Gate, LeaderOptions, Request, Started } from './messages.ts';

const PROGRAM = fileURLToPath(new URL('leader.ts', import.meta.url));

/** A controller in a process of its own. */
export class LeaderProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #ended: Promise<never>;
  readonly #signal: AbortSignal;

  private constructor(child: ChildProcess, signal: AbortSignal) {
    this.#child = child;
    this.#signal = signal;
    this.#ended = new Promise((_, reject) => {
      child.once('exit', (code, killed) =>
        reject(new Error(`the controller ended by itself: ${killed ?? `exit code ${code}`}`)),
      );
      child.on('message', (answer: Answer) => {
        if (answer.kind === 'failed') reject(new Error(`the controller failed: ${answer.message}`));
      });
    });
    this.#ended.catch(() => undefined);
  }

  /** Starts one and waits until it leads, or stands by. @throws what is in its way; the signal's reason. */
  static async start(
    options: LeaderOptions,
    role: 'leading' | 'standing-by',
    signal: AbortSignal,
  ): Promise<LeaderProcess> {
    // In a session of its own: Ctrl-C in the terminal reaches it through us.
    const child = spawn(process.execPath, ['--expose-gc', PROGRAM], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      detached: true,
    });
    const leader = new LeaderProcess(child, signal);
    try {
      const ready = leader.#answer(role);
      leader.#send({ kind: 'lead', options });
      await ready;
      return leader;
    } catch (error) {
      await leader.kill();
      throw error;
    }
  }

  /** From now on attempts end like this. */
  setGate(gate: Gate): void {
    this.#send({ kind: 'gate', gate });
  }

  /** Resolves with what it started since this was asked the last time, as soon as that is so much. */
  async starts(count: number): Promise<Started> {
    const answer = this.#answer('starts');
    this.#send({ kind: 'starts', count });
    return await answer;
  }

  /** @returns what it uses once all garbage is collected, in bytes. */
  async memory(): Promise<NodeJS.MemoryUsage> {
    const answer = this.#answer('memory');
    this.#send({ kind: 'memory' });
    return (await answer).usage;
  }

  /** Ends it with SIGKILL. Live runs and the lock of the lead are left to whoever comes next. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }

  #send(request: Request): void {
    this.#child.send(request);
  }

  async #answer<K extends Answer['kind']>(kind: K): Promise<Extract<Answer, { kind: K }>> {
    const signal = this.#signal;
    const answered = new Promise<Extract<Answer, { kind: K }>>((resolve, reject) => {
      const onMessage = (answer: Answer): void => {
        if (answer.kind !== kind) return;
        stop();
        resolve(answer as Extract<Answer, { kind: K }>);
      };
      const onAbort = (): void => {
        stop();
        reject(signal.reason as Error);
      };
      const stop = (): void => {
        this.#child.off('message', onMessage);
        signal.removeEventListener('abort', onAbort);
      };
      this.#child.on('message', onMessage);
      signal.addEventListener('abort', onAbort);
    });
    return await Promise.race([answered, this.#ended]);
  }
}
