import type {
  AttemptSpec,
  Backend,
  BackendAttempt,
  Observation,
  TenantAttempt,
} from '../../controller/backends/types.ts';
import { attemptName } from '../../controller/model/ids.ts';
import { monotonicMs } from './monotonic.ts';
import type { Gate, Start } from './messages.ts';

/**
 * A backend without containers: an attempt is there as soon as it is started, claims nothing, and ends as the gate says.
 * It ends as if it had run out of memory: a failure of the workflow, which no other attempt follows. What it is asked
 * about and did not start itself is a container that a controller before started, and still runs.
 */
export class GatedBackend implements Backend {
  readonly name = 'docker';
  readonly claimProof = 'token';
  readonly #alive = new Map<string, BackendAttempt>();
  readonly #observers = new Set<(observation: Observation) => void>();
  readonly #onStart: (start: Start) => void;
  #gate: Gate;
  #ownMs = 0;

  constructor(gate: Gate, onStart: (start: Start) => void) {
    this.#gate = gate;
    this.#onStart = onStart;
  }

  /** The time that was spent in here, in milliseconds: what the measured controller does not spend. */
  get ownMs(): number {
    return this.#ownMs;
  }

  /** From now on attempts end like this. */
  set gate(gate: Gate) {
    this.#gate = gate;
    for (const attempt of this.#alive.values()) this.#endLater(attempt);
  }

  start(spec: AttemptSpec): Promise<BackendAttempt> {
    const at = monotonicMs();
    const { runId } = spec;
    const container = this.#run(spec);
    this.#onStart({ runId, at });
    this.#ownMs += monotonicMs() - at;
    return Promise.resolve(container);
  }

  #run({ runId, attempt, tenantId }: TenantAttempt): BackendAttempt {
    const name = attemptName({ runId, attempt });
    const container = { runId, attempt, tenantId, containerId: name, state: 'running' } as const;
    this.#alive.set(name, container);
    this.#endLater(container);
    return container;
  }

  #endLater(container: BackendAttempt): void {
    if (this.#gate.kind === 'closed') return;
    setTimeout(() => this.#end(container), this.#gate.lifeMs);
  }

  #end({ runId, attempt, containerId }: BackendAttempt): void {
    const from = monotonicMs();
    if (this.#alive.delete(containerId)) {
      const exit = { kind: 'exited', exitCode: 137, oomKilled: true, at: new Date() } as const;
      for (const tell of this.#observers) tell({ kind: 'ended', runId, attempt, containerId, exit });
    }
    this.#ownMs += monotonicMs() - from;
  }

  adopt(): Promise<void> {
    return Promise.resolve();
  }

  stop(ref: TenantAttempt): Promise<void> {
    const container = this.#alive.get(attemptName(ref));
    if (container !== undefined) this.#end(container);
    return Promise.resolve();
  }

  remove(ref: TenantAttempt): Promise<void> {
    this.#alive.delete(attemptName(ref));
    return Promise.resolve();
  }

  find(ref: TenantAttempt): Promise<BackendAttempt | undefined> {
    return Promise.resolve(this.#alive.get(attemptName(ref)) ?? this.#run(ref));
  }

  list(): Promise<BackendAttempt[]> {
    return Promise.resolve([...this.#alive.values()]);
  }

  async *observe(signal: AbortSignal): AsyncIterable<Observation> {
    const waiting: Observation[] = [];
    let wake = Promise.withResolvers<undefined>();
    const tell = (observation: Observation): void => {
      waiting.push(observation);
      wake.resolve(undefined);
    };
    signal.addEventListener('abort', () => wake.resolve(undefined), { once: true });
    this.#observers.add(tell);
    while (!signal.aborted) {
      yield* waiting.splice(0);
      await wake.promise;
      wake = Promise.withResolvers<undefined>();
    }
    this.#observers.delete(tell);
  }
}
