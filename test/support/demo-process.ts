import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type Dockerode from 'dockerode';
import { onTestFinished } from 'vitest';

const WORMHOLE = fileURLToPath(new URL('../../bin/wormhole.mjs', import.meta.url));
/** A machine that has to build the image first needs minutes. */
export const DEMO_MS = 600_000;

/** A line of the demo's output. */
export interface DemoEvent {
  readonly type: string;
  readonly status?: string;
  readonly isGood?: boolean;
  readonly runs?: readonly { containerId: string | null; differences: readonly string[] }[];
  readonly checks?: readonly { what: string; isGood: boolean }[];
}

/** The demo as a child process, as a user starts it. */
export class Demo {
  readonly events: DemoEvent[] = [];
  readonly #child: ChildProcess;
  readonly #errors: Promise<string>;
  readonly #exit: Promise<number | null>;
  readonly #waiting: { isWanted: (event: DemoEvent) => boolean; found: () => void }[] = [];

  constructor(engine: Dockerode, backend: 'docker' | 'kubernetes' = 'docker') {
    const { socketPath } = engine.modem as { socketPath?: string };
    const child = spawn(process.execPath, [WORMHOLE, 'demo', '--json', '--backend', backend], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, DOCKER_HOST: `unix://${socketPath}` },
    });
    this.#child = child;
    this.#errors = text(child.stderr);
    this.#exit = once(child, 'close').then(([code]) => code as number | null);
    createInterface({ input: child.stdout }).on('line', (line) => this.#take(JSON.parse(line) as DemoEvent));
    onTestFinished(() => {
      child.kill('SIGTERM');
    });
  }

  #take(event: DemoEvent): void {
    this.events.push(event);
    for (const { isWanted, found } of this.#waiting) if (isWanted(event)) found();
  }

  /** Resolves at the first event that is wanted, or when the demo has ended without one. */
  async until(isWanted: (event: DemoEvent) => boolean): Promise<void> {
    if (this.events.some(isWanted)) return;
    await Promise.race([new Promise<void>((found) => this.#waiting.push({ isWanted, found })), this.#exit]);
    if (!this.events.some(isWanted)) throw new Error(`it never came; standard error: ${await this.#errors}`);
  }

  /** @returns how it ended, once it has. */
  async ended(): Promise<{ exitCode: number | null; stderr: string }> {
    return { exitCode: await this.#exit, stderr: await this.#errors };
  }

  /** Sends a signal to the process that the user started. */
  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }
}
