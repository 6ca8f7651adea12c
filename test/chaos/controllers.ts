import { appendFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { Program } from './program.ts';

const MAIN = join(import.meta.dirname, '../../controller/cli/main.ts');
/** As a service manager waits before it starts again what has ended. */
const RESPAWN_MS = 500;
/** Longer than `wormhole up` gives live runs to end. */
const STOP_GRACE_MS = 90_000;

/** What every controller of the platform is started with. */
export interface ControllerSpec {
  /** Has a folder for the state of each. */
  readonly folder: string;
  readonly logs: string;
  readonly configFile: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** `wormhole up`, again and again: started anew whenever it has ended, until it is retired. */
export class Controller {
  readonly name: string;
  readonly #spec: ControllerSpec;
  readonly #onLead: (controller: Controller) => void;
  readonly #retired = new AbortController();
  #program: Program | undefined;
  #leads = false;
  #lives: Promise<void> = Promise.resolve();

  constructor(name: string, spec: ControllerSpec, onLead: (controller: Controller) => void) {
    this.name = name;
    this.#spec = spec;
    this.#onLead = onLead;
  }

  /** Whether this process is alive and has said that it is ready, which it says when it leads. */
  get leads(): boolean {
    return this.#leads && this.isAlive;
  }

  get isAlive(): boolean {
    return this.#program?.isAlive === true;
  }

  /** Starts its first life. */
  start(): void {
    this.#lives = this.#live();
  }

  async #live(): Promise<void> {
    const { folder, logs, configFile, env } = this.#spec;
    const stateDir = join(folder, this.name);
    const log = join(logs, `${this.name}.log`);
    await mkdir(stateDir);
    while (!this.#retired.signal.aborted) {
      this.#leads = false;
      const program = new Program({
        ...{ file: process.execPath, cwd: folder, log },
        args: [MAIN, 'up', '--json', '--config', configFile],
        env: { ...env, WORMHOLE_STATE_DIR: stateDir },
      });
      this.#program = program;
      createInterface({ input: program.stdout }).on('line', (line) => {
        appendFileSync(log, `${line}\n`);
        if (!line.includes('"type":"ready"') || this.#program !== program) return;
        this.#leads = true;
        this.#onLead(this);
      });
      await program.ended;
      appendFileSync(log, `${new Date().toISOString()} ended: ${program.exit}\n`);
      await delay(RESPAWN_MS, undefined, { signal: this.#retired.signal }).catch(() => undefined);
    }
  }

  /** Sends a signal. @returns false when it is not alive. */
  signal(name: NodeJS.Signals): boolean {
    return this.#program?.signal(name) === true;
  }

  /** Stops it in order, for good. @returns whether it ended by itself in time. */
  async stop(): Promise<boolean> {
    this.#retired.abort();
    const inTime = (await this.#program?.stop(STOP_GRACE_MS)) ?? true;
    await this.#lives;
    return inTime;
  }

  /** SIGKILL, for good. */
  async end(): Promise<void> {
    this.#retired.abort();
    this.signal('SIGKILL');
    await this.#lives;
  }
}

/** The controllers of one instance: one leads, the others stand by. */
export class Controllers {
  readonly all: readonly Controller[];
  /** How long it took from the death of a leader until another one led, each time, in milliseconds. */
  readonly takeOversMs: number[] = [];
  #leader: Controller | undefined;
  #leaderDiedAt: number | undefined;

  constructor(count: number, spec: ControllerSpec) {
    const onLead = (controller: Controller): void => {
      this.#leader = controller;
      if (this.#leaderDiedAt !== undefined) this.takeOversMs.push(performance.now() - this.#leaderDiedAt);
      this.#leaderDiedAt = undefined;
    };
    this.all = Array.from(
      { length: count },
      (_, index) => new Controller(`controller-${index + 1}`, spec, onLead),
    );
  }

  /** The one that leads, if one does: of two that believe it, the last to take the lead. */
  get leader(): Controller | undefined {
    return this.#leader?.leads === true ? this.#leader : undefined;
  }

  /** One that is alive and does not lead, if there is one. */
  get standby(): Controller | undefined {
    return this.all.find((controller) => controller.isAlive && !controller.leads);
  }

  /** Starts all. */
  start(): void {
    for (const controller of this.all) controller.start();
  }

  /** SIGKILL to the one that leads. @returns false when none does. */
  killLeader(): boolean {
    const killed = this.leader?.signal('SIGKILL') === true;
    if (killed) this.#leaderDiedAt = performance.now();
    return killed;
  }

  /** Stops all in order. @returns the names of those that had to be killed. */
  async stop(): Promise<string[]> {
    const inTime = await Promise.all(this.all.map((controller) => controller.stop()));
    return this.all.filter((_, index) => inTime[index] !== true).map(({ name }) => name);
  }

  /** SIGKILL to all, for good. */
  async end(): Promise<void> {
    await Promise.all(this.all.map((controller) => controller.end()));
  }
}
