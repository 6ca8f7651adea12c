import type {
  AttemptSpec,
  BackendAttempt,
  Observation,
  TenantAttempt,
} from '../../controller/backends/types.ts';
import { BackendError } from '../../controller/errors.ts';
import type { Exit } from '../../controller/model/exit.ts';
import { attemptName } from '../../controller/model/ids.ts';
import type { Reason } from '../../controller/model/reasons.ts';
import { Container, short } from './container.ts';
import { EPOCH_MS } from './process.ts';
import type { World } from './world.ts';

const REFUSALS: readonly Reason[] = [
  ...(['IMAGE_PULL_FAILED', 'UNSCHEDULABLE', 'QUOTA_EXCEEDED', 'ADMISSION_DENIED'] as const),
  ...(['NODE_LOST', 'RUNNER_LOST'] as const),
];
const REMOVED_STILL_LISTED = 0.2;
const UNREACHABLE_CHANCE = 0.2;

/** Whoever is connected to the engine's events. */
export interface EngineListener {
  readonly observed: (observation: Observation) => void;
}

/** A place where containers run: what a backend's calls do there, each all at once. */
export class Engine {
  readonly containers = new Map<string, Container>();
  readonly listeners = new Set<EngineListener>();
  readonly #world: World;
  /** What a list that lags behind still shows. */
  readonly #removed: BackendAttempt[] = [];
  isDown = false;

  constructor(world: World) {
    this.#world = world;
  }

  date(): Date {
    return new Date(EPOCH_MS + this.#world.time.nowMs);
  }

  start(spec: AttemptSpec): BackendAttempt {
    const { random, faults, audit, trace } = this.#world;
    audit.startAsked(spec);
    const name = attemptName(spec);
    const there = this.containers.get(name);
    if (there !== undefined && there.view.state !== 'created') return there.view;
    if (random.chance(faults().refused)) {
      const reason = random.pick(REFUSALS)!;
      trace(`engine refuses ${short(spec)}: ${reason}`);
      throw new BackendError(reason, 'simulated', { retryable: reason !== 'ADMISSION_DENIED' });
    }
    const container =
      there ?? new Container(spec, this.#world, (exit) => this.#observed(endOf(spec, name, exit)));
    this.containers.set(name, container);
    if (random.chance(faults().halfMade)) throw unanswered();
    container.begin();
    this.#observed({ ...refOf(spec), kind: 'started', containerId: name, at: this.date() });
    return container.view;
  }

  adopt(): void {
    const { random, faults } = this.#world;
    if (random.chance(faults().misconduct * UNREACHABLE_CHANCE))
      throw new Error('it cannot be reached any more');
  }

  stop(ref: TenantAttempt, graceMs: number): void {
    this.containers.get(attemptName(ref))?.stop(graceMs);
  }

  remove(ref: TenantAttempt): void {
    const name = attemptName(ref);
    const container = this.containers.get(name);
    if (container === undefined) return;
    const { random, faults } = this.#world;
    container.end({ exitCode: 137 });
    this.containers.delete(name);
    if (random.chance(REMOVED_STILL_LISTED * Math.sign(faults().late))) this.#removed.push(container.view);
  }

  find(ref: TenantAttempt): BackendAttempt | undefined {
    return this.containers.get(attemptName(ref))?.view;
  }

  /** May show what was removed, once more. */
  list(): BackendAttempt[] {
    return [...[...this.containers.values()].map(({ view }) => view), ...this.#removed.splice(0)];
  }

  /** The container is gone, without an exit code. Who is not connected to the engine now is not told. */
  vanish(container: Container): void {
    if (!this.containers.delete(container.name)) return;
    container.end({ kind: 'lost' });
  }

  /** Goes away for a while. @param deaths the share of its containers that ends with it. */
  fail(forMs: number, deaths: number): void {
    const { random, time } = this.#world;
    if (this.isDown) return;
    this.isDown = true;
    time.after(forMs, () => {
      for (const container of [...this.containers.values()]) {
        if (!random.chance(deaths)) continue;
        if (random.chance(0.5)) this.vanish(container);
        else container.end({ exitCode: 137 });
      }
      this.isDown = false;
    });
  }

  #observed(observation: Observation): void {
    for (const listener of this.listeners) listener.observed(observation);
  }
}

const refOf = ({ runId, attempt }: AttemptSpec) => ({ runId, attempt });

const endOf = (spec: AttemptSpec, containerId: string, exit: Exit): Observation => ({
  ...refOf(spec),
  ...{ kind: 'ended', containerId, exit },
});

/** @returns what a start that nobody answered fails with. */
export const unanswered = (): BackendError =>
  new BackendError('NODE_LOST', 'the engine did not answer', { retryable: true, unanswered: true });
