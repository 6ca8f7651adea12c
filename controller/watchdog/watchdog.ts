import type Dockerode from 'dockerode';
import type { Logger } from 'pino';
import { stateOf } from '../backends/docker/container-state.ts';
import { accepting } from '../backends/docker/engine-error.ts';
import { watchEngine, type ContainerEvent, type EngineChange } from '../backends/docker/engine-watch.ts';
import { messageOf } from '../errors.ts';
import { LABELS } from '../model/labels.ts';
import { Deadlines, parseDeadline } from './deadlines.ts';

/** At a run's deadline the runner and the controller end it; the watchdog, this much later, is for when both fail. */
export const WATCHDOG_GRACE_MS = 2_000;

const KILL_CALL_MS = 10_000;
const KILL_RETRY_MS = 1_000;
/** A timer of Node's cannot be longer; well before, the containers are listed again anyway. */
const LONGEST_TIMER_MS = 60_000;
const DEFAULT_ENGINE_PATIENCE_MS = 5 * 60_000;
/** A container that was created may be just about to be started, by a request that outlives its sender. */
const START_UNDER_WAY_MS = 120_000;

export interface WatchdogOptions {
  readonly docker: Dockerode;
  readonly instance: string;
  /** How long after its deadline a container may still live: time for the controller to end it in good order. */
  readonly graceMs: number;
  /**
   * Once released: how long to wait for an engine that does not answer before giving up on it.
   * @default 300000
   */
  readonly enginePatienceMs?: number;
  /** Aborts when nobody needs the watchdog any more but for the containers that are alive. */
  readonly released: AbortSignal;
  readonly log: Logger;
}

/**
 * Kills the run containers of one instance that outlive their deadline. What it knows comes from the engine alone,
 * so it works without the controller and the database.
 * Ends when it is released and no container is alive; an engine that is gone is waited for, once released not for ever.
 */
export class Watchdog {
  readonly #options: WatchdogOptions;
  readonly #deadlines = new Deadlines();
  /** The labels of the containers that started since the last listing. */
  readonly #started = new Map<string, ContainerEvent['labels']>();
  readonly #finished = new AbortController();
  #listed = false;
  #heardAt = performance.now();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: WatchdogOptions) {
    this.#options = options;
  }

  /** Watches until released with nothing left to watch. */
  async run(): Promise<void> {
    const { released } = this.#options;
    const onReleased = (): void => this.#finishIfDone();
    released.addEventListener('abort', onReleased);
    const { enginePatienceMs = DEFAULT_ENGINE_PATIENCE_MS } = this.#options;
    // A healthy engine is heard at every listing, far more often than this.
    const patience = setInterval(() => {
      if (!released.aborted || performance.now() - this.#heardAt < enginePatienceMs) return;
      this.#options.log.error('the container engine does not come back; nothing can be watched any more');
      this.#finished.abort();
    }, enginePatienceMs / 10);
    try {
      for await (const change of watchEngine(this.#options, this.#finished.signal)) {
        this.#heardAt = performance.now();
        this.#apply(change);
        this.#arm();
        this.#finishIfDone();
      }
    } finally {
      clearTimeout(this.#timer);
      clearInterval(patience);
      released.removeEventListener('abort', onReleased);
    }
  }

  #apply(change: EngineChange): void {
    switch (change.kind) {
      case 'listed':
        this.#listed = true;
        this.#deadlines.clear();
        for (const { Id, State, Labels, Created } of change.containers) {
          const state = stateOf(State);
          const starting = state === 'created' && Date.now() - Created * 1000 < START_UNDER_WAY_MS;
          if (state === 'running' || starting) this.#watch(Id, Labels);
        }
        // A list may be older than a start that was told before it arrived; the next one is not.
        for (const [containerId, labels] of this.#started) this.#watch(containerId, labels);
        this.#started.clear();
        return;
      case 'start':
        this.#started.set(change.containerId, change.labels);
        this.#watch(change.containerId, change.labels);
        return;
      case 'die':
      case 'destroy':
        this.#started.delete(change.containerId);
        this.#deadlines.delete(change.containerId);
        return;
      case 'oom':
        return;
    }
  }

  #watch(containerId: string, labels: Readonly<Record<string, string>>): void {
    const deadlineMs = parseDeadline(labels[LABELS.deadline]);
    if (deadlineMs === undefined) {
      this.#options.log.error({ containerId }, 'a run container has no deadline; it is not watched');
      return;
    }
    this.#deadlines.set(containerId, deadlineMs + this.#options.graceMs);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const waitMs = this.#deadlines.nextInMs(Date.now());
    if (waitMs === undefined) return;
    this.#timer = setTimeout(() => void this.#killDue(), Math.min(waitMs, LONGEST_TIMER_MS));
  }

  async #killDue(): Promise<void> {
    await Promise.all(this.#deadlines.due(Date.now()).map((containerId) => this.#kill(containerId)));
    if (this.#finished.signal.aborted) return;
    this.#arm();
    this.#finishIfDone();
  }

  async #kill(containerId: string): Promise<void> {
    const { docker, log } = this.#options;
    try {
      const abortSignal = AbortSignal.timeout(KILL_CALL_MS);
      // 404 and 409: it has ended in the meantime.
      await accepting([404, 409], docker.getContainer(containerId).kill({ signal: 'SIGKILL', abortSignal }));
      log.warn({ containerId }, 'killed a run container that had outlived its deadline');
      this.#deadlines.delete(containerId);
    } catch (error) {
      log.error({ containerId, error: messageOf(error) }, 'could not kill a run container; trying again');
      this.#deadlines.set(containerId, Date.now() + KILL_RETRY_MS);
    }
  }

  #finishIfDone(): void {
    if (this.#options.released.aborted && this.#listed && this.#deadlines.size === 0) this.#finished.abort();
  }
}
