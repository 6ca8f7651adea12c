import type { Observation } from '../../controller/backends/types.ts';
import { attemptName, type AttemptRef } from '../../controller/model/ids.ts';
import type { EngineListener } from './engine.ts';
import type { Process } from './process.ts';
import type { World } from './world.ts';

const RECONNECT_MS = 500;

/**
 * What one process observes of the engine, as the real backends do it: events while it is connected, a list whenever it
 * is connected again. What was made and vanished in between, it never sees.
 */
export class Observer implements EngineListener {
  readonly #world: World;
  readonly #process: Process;
  /** Containers seen alive, whose end was not observed yet. */
  readonly #alive = new Map<string, AttemptRef>();
  readonly #told: Observation[] = [];
  #wake: () => void = () => undefined;

  constructor(world: World, process: Process) {
    this.#world = world;
    this.#process = process;
  }

  /** Streams what it observes until `signal` aborts. */
  async *observe(signal: AbortSignal): AsyncGenerator<Observation, void, undefined> {
    signal.addEventListener('abort', () => this.#wake(), { once: true });
    this.#connect();
    while (!signal.aborted) {
      const next = this.#told.shift();
      if (next !== undefined) yield next;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    this.#world.engine.listeners.delete(this);
  }

  /** The connection is lost, and made again after `forMs`. */
  disconnect(forMs: number): void {
    if (this.#world.engine.listeners.delete(this)) this.#world.time.after(forMs, () => this.#connect());
  }

  observed(observation: Observation): void {
    const { time, random, faults } = this.#world;
    if (observation.kind === 'started') this.#alive.set(attemptName(observation), observation);
    else this.#alive.delete(attemptName(observation));
    const tell = (): void =>
      this.#process.reach(() => {
        this.#told.push(observation);
        this.#wake();
      });
    time.after(random.between(1, random.chance(faults().late) ? 8_000 : 5), tell);
    if (random.chance(faults().twice)) time.after(random.between(1, 8_000), tell);
  }

  #connect(): void {
    const { engine, time } = this.#world;
    if (!this.#process.isAlive) return;
    if (engine.isDown) {
      time.after(RECONNECT_MS, () => this.#connect());
      return;
    }
    engine.listeners.add(this);
    const exit = { kind: 'lost', exitCode: null, oomKilled: false, at: engine.date() } as const;
    for (const [containerId, ref] of [...this.#alive]) {
      if (!engine.containers.has(containerId)) this.observed({ ...ref, kind: 'ended', containerId, exit });
    }
    for (const { view } of engine.containers.values()) {
      const { runId, attempt, containerId } = view;
      if (view.exit !== undefined)
        this.observed({ runId, attempt, kind: 'ended', containerId, exit: view.exit });
      else if (view.state !== 'created') this.#alive.set(containerId, { runId, attempt });
    }
  }
}
