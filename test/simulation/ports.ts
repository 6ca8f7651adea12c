import type { Backend } from '../../controller/backends/types.ts';
import type { DispatchStore } from '../../controller/dispatch/store.ts';
import type { AttemptRef } from '../../controller/model/ids.ts';
import type { RunChange, RunChanges, RunListeners } from '../../controller/store/notifications.ts';
import type { Engine } from './engine.ts';
import type { ModelStore } from './model-store.ts';
import type { Observer } from './observer.ts';
import type { Process } from './process.ts';
import type { Wire } from './wire.ts';
import type { World } from './world.ts';

/** @returns the record as a controller reaches it. @param asked told of every question that arrives. */
export const storePort = (store: ModelStore, wire: Wire, asked: (what: string) => void): DispatchStore => {
  const ask = <T>(what: string, serve: () => T): Promise<T> =>
    wire.ask(() => {
      asked(what);
      return serve();
    });
  return {
    readDemand: (tenants) => ask('readDemand', () => store.readDemand(tenants)),
    recentStarts: () => ask('recentStarts', () => store.recentStarts()),
    admitRuns: (wanted, attempt) => ask('admitRuns', () => store.admitRuns(wanted, attempt)),
    liveAttempts: () => ask('liveAttempts', () => store.liveAttempts()),
    findLive: (runId) => ask('findLive', () => store.findLive(runId)),
    postponeStart: (ref) => ask('postponeStart', () => store.postponeStart(ref)),
    recordContainer: (container) => ask('recordContainer', () => store.recordContainer(container)),
    recordStopCause: (ref, cause) => ask('recordStopCause', () => store.recordStopCause(ref, cause)),
    finishRun: (ref, verdict) => ask('finishRun', () => store.finishRun(ref, verdict)),
    requeueRun: (ref, verdict, _exit, delayMs) =>
      ask('requeueRun', () => store.requeueRun(ref, verdict, delayMs)),
    requestCancel: (runId) => ask('requestCancel', () => store.requestCancel(runId)),
  };
};

/** @returns the engine as a controller reaches it. */
export const backendPort = (
  engine: Engine,
  wire: Wire,
  observer: Observer,
  claimProof: Backend['claimProof'],
): Backend => ({
  name: claimProof === 'token' ? 'docker' : 'kubernetes',
  claimProof,
  start: (spec) => wire.ask(() => engine.start(spec)),
  adopt: () => wire.ask(() => engine.adopt()),
  stop: (ref, { graceMs }) => wire.ask(() => engine.stop(ref, graceMs)),
  remove: (ref) => wire.ask(() => engine.remove(ref)),
  find: (ref) => wire.ask(() => engine.find(ref)),
  list: () => wire.ask(() => engine.list()),
  observe: (signal) => observer.observe(signal),
});

/** What tells one controller of changes: late, sometimes twice, and not while its connection is lost. */
export class ChangesPort implements RunChanges {
  readonly #world: World;
  readonly #process: Process;
  readonly #listeners = new Set<RunListeners>();
  #lastAtMs = 0;
  #isConnected = true;

  constructor(world: World, process: Process) {
    this.#world = world;
    this.#process = process;
  }

  listen(listeners: RunListeners): () => void {
    this.#listeners.add(listeners);
    return () => this.#listeners.delete(listeners);
  }

  changed(change: RunChange): void {
    this.#tell(({ runs, run }) => {
      runs?.(change);
      if (run?.[0] === change.runId) run[1](change);
    });
  }

  result(ref: AttemptRef): void {
    this.#tell(({ result }) => {
      if (result?.[0] === ref.runId) result[1](ref);
    });
  }

  limits(): void {
    this.#tell(({ limits }) => limits?.());
  }

  /** The connection is lost, and made again after `forMs`. */
  disconnect(forMs: number): void {
    if (!this.#isConnected) return;
    this.#isConnected = false;
    this.#world.time.after(forMs, () => {
      this.#isConnected = true;
      this.#tell(({ resync }) => resync?.());
    });
  }

  /** In the order of the changes, as one connection does. */
  #tell(listener: (listeners: RunListeners) => void): void {
    const { time, random, faults } = this.#world;
    if (!this.#isConnected) return;
    const atMs = Math.max(
      this.#lastAtMs,
      time.nowMs + random.between(1, random.chance(faults().late) ? 2000 : 4),
    );
    this.#lastAtMs = atMs;
    const tell = (): void => {
      if (!this.#isConnected) return;
      this.#process.reach(() => {
        for (const listeners of [...this.#listeners]) listener(listeners);
      });
    };
    time.after(atMs - time.nowMs, tell);
    if (random.chance(faults().twice)) time.after(atMs - time.nowMs + random.between(1, 3000), tell);
  }
}
