import type { Logger } from 'pino';
import type { Backend } from '../backends/types.ts';
import type { Clock } from '../clock.ts';
import { messageOf } from '../errors.ts';
import { hashToken, newToken } from '../gateway/tokens.ts';
import type { TenantId } from '../model/ids.ts';
import type { Reason } from '../model/reasons.ts';
import type { RunChange, RunChanges } from '../store/notifications.ts';
import type { DispatchObserver } from '../telemetry/dispatch-observer.ts';
import { DUE_AT_MOST } from './demand.ts';
import { Scheduler } from './scheduler.ts';
import type { DispatchStore } from './store.ts';
import type { StartedAttempt, Supervisor } from './supervisor.ts';

export interface DispatcherOptions {
  readonly store: DispatchStore;
  readonly changes: RunChanges;
  readonly backend: Backend;
  readonly supervisor: Supervisor;
  readonly clock: Clock;
  readonly log: Logger;
  readonly observer: DispatchObserver;
}

/** All demand is looked at anew this often: what was never told of is found then. */
const LOOK_AGAIN_MS = 5_000;
const FAILED_RETRY_MS = 500;
const CONTENDED_RETRY_MS = 50;
/** Timers may ring a little early. */
const TIMER_SLACK_MS = 1;

/**
 * Starts runs: whenever something changes it asks PostgreSQL what the tenants concerned have and want, lets the scheduler
 * decide whose turn it is, and admits their oldest runs. One round at a time; what happens meanwhile is for the next.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #scheduler = new Scheduler();
  /** Tenants that something happened to since they were looked at; `all`: anybody. */
  readonly #stale = new Set<TenantId>();
  #allStale = true;
  #wokenAtMs: number | undefined;
  #rounds: Promise<void> | undefined;
  #cancelTimer: () => void = () => undefined;
  #endings: (() => void)[] = [];
  /** Not before it knows of starts that a leader before made: what is adopted may wake it earlier. */
  #started = false;
  #closed = false;

  constructor(options: DispatcherOptions) {
    this.#options = options;
  }

  /** Goes on where a dispatcher before stopped. */
  async start(): Promise<void> {
    const { store, changes, clock } = this.#options;
    const starts = await store.recentStarts();
    // Rather a moment too late than a start too many.
    const toldAtMs = clock.nowMs();
    this.#scheduler.remember(starts.map(({ tenantId, msAgo }) => ({ tenantId, atMs: toldAtMs - msAgo })));
    this.#scheduler.learn(await store.readDemand(), clock.nowMs());
    const all = (): void => this.wake();
    this.#endings = [
      changes.listen({ runs: (change) => this.#onChange(change), limits: all, resync: all }),
      clock.every(LOOK_AGAIN_MS, all),
    ];
    this.#started = true;
    this.wake();
  }

  /** Something happened to the tenant; without one: to anybody. */
  wake(tenantId?: TenantId): void {
    if (this.#closed) return;
    if (tenantId === undefined) this.#allStale = true;
    else this.#stale.add(tenantId);
    this.#wokenAtMs ??= this.#options.clock.nowMs();
    this.#begin();
  }

  #begin(): void {
    if (this.#closed || !this.#started) return;
    this.#rounds ??= this.#work().then((isDone) => {
      this.#rounds = undefined;
      // Woken after the last look.
      if (isDone && this.#isStale()) this.#begin();
    });
  }

  #onChange({ status, tenantId }: RunChange): void {
    switch (status) {
      case 'STARTING':
        break;
      case 'RUNNING':
        if (this.#scheduler.isPressed(tenantId)) this.wake(tenantId);
        break;
      default:
        this.wake(tenantId);
    }
  }

  /** An attempt was refused: whoever is the cause slows down. */
  refused({ tenantId, admittedAtMs }: StartedAttempt, reason: Reason, retryAfterMs?: number): void {
    const refusal = { tenantId, reason, admittedAtMs, retryAfterMs };
    this.#scheduler.refused(refusal, this.#options.clock.nowMs());
    this.wake(tenantId);
  }

  claimed({ tenantId, admittedAtMs }: StartedAttempt): void {
    this.#scheduler.claimed(tenantId, admittedAtMs);
    if (this.#scheduler.isPressed(tenantId)) this.wake(tenantId);
  }

  /** @returns who is held back by refused starts. */
  pressure(): ReturnType<Scheduler['pressure']> {
    return this.#scheduler.pressure(this.#options.clock.nowMs());
  }

  /** @returns whether all is done that could be done now; otherwise it is tried again later. */
  async #work(): Promise<boolean> {
    const { clock, log } = this.#options;
    this.#cancelTimer();
    const begin = (): void => this.#begin();
    try {
      while (!this.#closed && (await this.#round()));
    } catch (error) {
      this.#allStale = true;
      log.warn({ error: messageOf(error) }, 'could not start runs; trying again');
      this.#cancelTimer = clock.after(this.#isClosed() ? Infinity : FAILED_RETRY_MS, begin);
      return false;
    }
    const waitMs = this.#isClosed() ? Infinity : this.#scheduler.waitMs(clock.nowMs());
    this.#cancelTimer = clock.after(Math.ceil(waitMs) + TIMER_SLACK_MS, begin);
    return true;
  }

  /** @returns whether there may be more to do at once. */
  async #round(): Promise<boolean> {
    const { store, backend, supervisor, clock, observer } = this.#options;
    const wokenAtMs = this.#wokenAtMs ?? clock.nowMs();
    this.#wokenAtMs = undefined;
    await this.#look();
    const picks = this.#scheduler.pick(clock.nowMs(), DUE_AT_MOST);
    if (picks.length === 0) return this.#isStale();
    const runs = picks.reduce((sum, pick) => sum + pick.runs, 0);
    const tokens = backend.claimProof === 'token' ? Array.from({ length: runs }, newToken) : null;
    const admitted = await store.admitRuns(picks, {
      backend: backend.name,
      claimTokenHashes: tokens?.map(hashToken) ?? null,
    });
    // Admitted, they are started whatever comes: nobody else will.
    admitted.forEach((attempt, nth) => supervisor.lead(attempt, tokens?.[nth] ?? null));
    for (const { tenantId } of picks) this.#stale.add(tenantId);
    observer.admitted(admitted.length, clock.nowMs() - wokenAtMs);
    // Somebody else holds what is due, or a limit has just changed.
    if (admitted.length === 0) await clock.sleep(CONTENDED_RETRY_MS);
    return true;
  }

  /** Asks about those to whom something happened, and those of whom a postponed run is due. */
  async #look(): Promise<void> {
    const { store, clock } = this.#options;
    for (const tenantId of this.#scheduler.overdue(clock.nowMs())) this.#stale.add(tenantId);
    if (!this.#isStale()) return;
    const asked = this.#allStale ? undefined : [...this.#stale];
    this.#allStale = false;
    this.#stale.clear();
    this.#scheduler.learn(await store.readDemand(asked), clock.nowMs(), asked);
  }

  #isStale(): boolean {
    return this.#allStale || this.#stale.size > 0;
  }

  #isClosed(): boolean {
    return this.#closed;
  }

  /** Starts no more runs. Resolves when nothing of it goes on. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelTimer();
    for (const end of this.#endings) end();
    await this.#rounds;
  }
}
