import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseSamples } from './telemetry.ts';

const MAIN = join(import.meta.dirname, '../../controller/cli/main.ts');
const START_TIMEOUT_MS = 30_000;

/** What `/readyz` answers. */
export interface Readiness {
  readonly status: number;
  readonly reasons?: readonly string[];
}

/** A component of the control plane in a process of its own, as a pod runs it. */
export class ComponentProcess implements AsyncDisposable {
  /** All lines of its log. */
  readonly lines: string[];
  /** Resolves when it has ended and all its lines are there. */
  readonly ended: Promise<unknown>;
  readonly #child: ChildProcess;
  readonly #probes: string;

  private constructor(child: ChildProcess, lines: string[], ended: Promise<unknown>, probePort: number) {
    this.#child = child;
    this.lines = lines;
    this.ended = ended;
    this.#probes = `http://127.0.0.1:${probePort}`;
  }

  /** Starts it and waits until its probes are answered. @throws {Error} with what it said if it ends before. */
  static async start(
    command: string,
    configFile: string,
    env: Readonly<Record<string, string>>,
  ): Promise<ComponentProcess> {
    const child = spawn(process.execPath, [MAIN, command, '--config', configFile], {
      env: { ...env, WORMHOLE_PROBE_PORT: '0', WORMHOLE_LISTEN_ADDRESS: '127.0.0.1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const lines: string[] = [];
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const take = (line: string): void => {
      lines.push(line);
      const match = /"port":(\d+),"msg":"probes are answered"/.exec(line);
      if (match !== null) resolve(Number(match[1]));
    };
    const readers = [child.stdout, child.stderr].map((input) => createInterface({ input }).on('line', take));
    const ended = Promise.all([once(child, 'close'), ...readers.map((reader) => once(reader, 'close'))]);
    void ended.then(() => {
      const how = child.exitCode ?? child.signalCode ?? 'unknown';
      reject(new Error(`it ended with ${how}: ${lines.join('\n')}`));
    });
    const timer = setTimeout(() => reject(new Error('it does not answer probes')), START_TIMEOUT_MS);
    try {
      return new ComponentProcess(child, lines, ended, await promise);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Whether it is alive: the status of `/healthz`. */
  async health(): Promise<number> {
    return (await fetch(`${this.#probes}/healthz`)).status;
  }

  async readiness(): Promise<Readiness> {
    const response = await fetch(`${this.#probes}/readyz`);
    return { status: response.status, ...((await response.json()) as Omit<Readiness, 'status'>) };
  }

  /** @returns the samples of its metrics, by name and labels as they are written. */
  async metrics(): Promise<Map<string, number>> {
    return parseSamples(await (await fetch(`${this.#probes}/metrics`)).text());
  }

  /** @returns how it ended after SIGTERM, and how long that took. */
  async terminate(): Promise<{ readonly exitCode: number | null; readonly ms: number }> {
    const exited = once(this.#child, 'exit') as Promise<[number | null]>;
    const startedAt = performance.now();
    this.#child.kill('SIGTERM');
    const [exitCode] = await exited;
    return { exitCode, ms: performance.now() - startedAt };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}
