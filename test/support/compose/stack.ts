import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import type { ContainerInspectInfo } from 'dockerode';
import type { BridgedEngine } from './bridged-engine.ts';

const run = promisify(execFile);

const PROJECT = join(import.meta.dirname, '../../..');
const FILES = ['deploy/compose/compose.yaml', 'test/compose/far-side.yaml'];
const OUTPUT_BYTES = 64 * 1024 * 1024;

export interface StackOptions {
  readonly engine: BridgedEngine;
  /** Docker Compose. */
  readonly compose: string;
  /** The variables of compose.yaml. */
  readonly variables: Readonly<Record<string, string>>;
}

/** What a program in a container did. */
export interface Executed {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The platform of deploy/compose/compose.yaml, and beside it what its runs call. */
export class Stack {
  readonly #options: StackOptions;

  constructor(options: StackOptions) {
    this.#options = options;
  }

  /** Runs a command of Compose. @throws with what it printed if it fails. */
  async compose(...args: string[]): Promise<string> {
    const { stdout } = await run(this.#options.compose, this.#args(args), {
      env: this.#env,
      maxBuffer: OUTPUT_BYTES,
    });
    return stdout;
  }

  /** Runs `wormhole` in a service's container, as an operator does. */
  async wormhole(service: string, args: readonly string[], stdin: object = {}): Promise<Executed> {
    return await this.exec(service, ['wormhole', ...args], stdin);
  }

  /** Runs a program in a service's container. */
  async exec(service: string, command: readonly string[], stdin: object = {}): Promise<Executed> {
    const child = spawn(this.#options.compose, this.#args(['exec', '-T', service, ...command]), {
      env: this.#env,
    });
    child.stdin.on('error', () => undefined).end(JSON.stringify(stdin));
    const closed = once(child, 'close') as Promise<[number | null]>;
    const [stdout, stderr, [exitCode]] = await Promise.all([text(child.stdout), text(child.stderr), closed]);
    return { exitCode, stdout, stderr };
  }

  /** @returns what the engine knows of a service's container. */
  async inspect(service: string): Promise<ContainerInspectInfo> {
    const { docker } = this.#options.engine;
    return await docker.getContainer(`wormhole-${service}-1`).inspect();
  }

  /** Kills a service's process as a crash does: the engine was not asked, so it starts it again. */
  async crash(service: string): Promise<void> {
    const { State: state } = await this.inspect(service);
    await this.#options.engine.inside('kill', '-KILL', String(state.Pid));
  }

  #args(args: readonly string[]): string[] {
    return [...FILES.flatMap((file) => ['--file', join(PROJECT, file)]), '--progress', 'quiet', ...args];
  }

  get #env() {
    const { engine, variables } = this.#options;
    return {
      PATH: process.env['PATH'],
      HOME: process.env['TMPDIR'],
      TMPDIR: process.env['TMPDIR'],
      DOCKER_HOST: `unix://${engine.socketPath}`,
      WORMHOLE_ENGINE_SOCKET: engine.socketPath,
      WORMHOLE_CONFIG: join(PROJECT, 'test/compose/wormhole.yaml'),
      FAR_SIDE: join(PROJECT, 'test/compose/far-side.mjs'),
      ...variables,
    };
  }
}
