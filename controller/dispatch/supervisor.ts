import { setMaxListeners } from 'node:events';
import type { Logger } from 'pino';
import type { AttemptSpec, Backend, BackendAttempt, TenantAttempt } from '../backends/types.ts';
import type { Clock } from '../clock.ts';
import { BackendError, messageOf } from '../errors.ts';
import type { Exit } from '../model/exit.ts';
import type { AttemptRef, RunId } from '../model/ids.ts';
import type { Reason } from '../model/reasons.ts';
import { decideSequel, judge, type AttemptPolicy, type StopCause, type Verdict } from '../model/verdict.ts';
import type { LiveAttempt } from '../store/attempts.ts';
import type { RunChange, RunChanges } from '../store/notifications.ts';
import type { AdmittedAttempt } from '../store/run-transitions.ts';
import type { AttemptEnds } from './attempt-ends.ts';
import type { DispatchStore } from './store.ts';

/** Told of what happens to attempts. None of it may throw. */
export interface SupervisorObserver {
  /** It was not started, for this reason. */
  readonly refused: (attempt: StartedAttempt, reason: Reason, retryAfterMs?: number) => void;
  /** Its payload was handed out. */
  readonly claimed: (attempt: StartedAttempt) => void;
  /** Its end was recorded. */
  readonly ended: (attempt: AttemptEnd) => void;
}

/** An attempt and when it was admitted, on the dispatcher's clock. */
export interface StartedAttempt extends TenantAttempt {
  readonly admittedAtMs: number;
}

export interface AttemptEnd extends TenantAttempt {
  /** How this attempt ended; the run, too, unless another attempt follows. */
  readonly verdict: Verdict;
  readonly claimed: boolean;
  /** Whether the run has ended with it. */
  readonly final: boolean;
}

export interface SupervisorOptions {
  readonly store: DispatchStore;
  readonly changes: RunChanges;
  readonly backend: Backend;
  readonly ends: AttemptEnds;
  readonly policy: AttemptPolicy;
  /** A container that has not claimed its payload this long after its admission is given up. */
  readonly claimTimeoutMs: number;
  readonly observer: SupervisorObserver;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
}

/** What a container gets between SIGTERM and SIGKILL when it is canceled: time to report. */
const CANCEL_GRACE_MS = 5_000;
/** The runner ends itself before its deadline; what is alive at the deadline is killed. */
const DEADLINE_GRACE_MS = 0;
/** How long a container may live on after the runner gave its result. */
const EXIT_GRACE_MS = 3_000;
const STOP_RETRY_MS = 1_000;
/** The end of a container that was stopped is observed within this time, or else looked up. */
const OBSERVED_MS = 2_000;
/** A start that nobody answered is repeated after this long. */
const START_RETRY_MS = 1_000;
/** What could not be read or recorded is tried again after this long. */
const RECORD_RETRY_MS = 500;

/**
 * Leads attempts from their admission to their end: start, watch, judge, record, remove. Everything is decided by
 * PostgreSQL, so any step may be repeated by another supervisor after a crash.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #live = new Map<RunId, Promise<void>>();
  readonly #abandoned = new AbortController();

  constructor(options: SupervisorOptions) {
    this.#options = options;
    // Every run that is watched listens to it.
    setMaxListeners(0, this.#abandoned.signal);
  }

  /** @returns whether the run is being supervised now. */
  isLeading(runId: RunId): boolean {
    return this.#live.has(runId);
  }

  /** Starts an attempt that was just admitted, and leads it to its end. @param claimToken what its claim is proved with. */
  lead(attempt: AdmittedAttempt, claimToken: string | null): void {
    this.#keep(attempt, () => this.#begin(attempt, claimToken));
  }

  /** Takes over an attempt that is live, and that nobody leads here. */
  adopt(attempt: LiveAttempt): void {
    this.#keep(attempt, () => this.#takeOver(attempt));
  }

  /** Leaves all runs as they are to the next leader: nothing is decided about them here any more, and nothing is ended. */
  abandon(): void {
    this.#abandoned.abort();
  }

  /** Resolves when no run is being supervised, at once when they were abandoned. */
  async idle(): Promise<void> {
    while (this.#live.size > 0 && !this.#isAbandoned()) await Promise.allSettled(this.#live.values());
  }

  #isAbandoned(): boolean {
    return this.#abandoned.signal.aborted;
  }

  /** What fails unexpectedly is left to reconciliation: the run is live, and led by nobody. */
  #keep(attempt: TenantAttempt, work: () => Promise<void>): void {
    const { runId, tenantId } = attempt;
    if (this.#live.has(runId) || this.#isAbandoned()) return;
    const led = work()
      .catch((error: unknown) => {
        if (this.#isAbandoned()) return;
        this.#options.log.warn(
          { runId, attempt: attempt.attempt, tenantId, error: messageOf(error) },
          'lost hold of a live run; it is taken over again',
        );
      })
      .finally(() => this.#live.delete(runId));
    this.#live.set(runId, led);
  }

  async #begin(admitted: AdmittedAttempt, claimToken: string | null): Promise<void> {
    const { store, ends, clock, observer, log } = this.#options;
    const { runId, attempt, tenantId } = admitted;
    const started = { runId, attempt, tenantId, admittedAtMs: clock.nowMs() };
    const end = ends.expect(started);
    let container: BackendAttempt | undefined;
    try {
      container = await this.#start({ ...admitted, claimToken }, started);
    } catch (error) {
      if (this.#isAbandoned()) return;
      const failure = startFailure(error);
      const retryAfterMs = error instanceof BackendError ? error.retryAfterMs : undefined;
      observer.refused(started, failure.reason ?? 'RUNNER_LOST', retryAfterMs);
      await this.#remove(started);
      await this.#settle(started, () => failure, null);
      return;
    }
    if (container !== undefined) {
      await store.recordContainer(container).catch((error: unknown) => {
        log.warn({ runId, error: messageOf(error) }, 'could not record which container a run got');
      });
    }
    const live = await this.#find(started);
    if (live === undefined) await this.#remove(started);
    else await this.#watch(live, started, end);
  }

  /**
   * Starts the attempt, however long nobody answers: this says nothing about the run, so it costs none of its attempts and
   * none of its time. The same attempt is started again, because it may be there already.
   * @returns its container, or undefined when it claimed its payload, or was ended, although nobody had answered.
   * @throws {BackendError} when it cannot be started, or is to be canceled first.
   */
  async #start(spec: AttemptSpec, started: StartedAttempt): Promise<BackendAttempt | undefined> {
    const { store, backend, clock, observer, log } = this.#options;
    let { deadlineInMs } = spec;
    for (let tries = 1; ; tries += 1) {
      try {
        return await backend.start({ ...spec, deadlineInMs });
      } catch (error) {
        if (!(error instanceof BackendError && error.unanswered) || this.#isAbandoned()) throw error;
        const { runId, attempt, tenantId } = spec;
        log.warn({ runId, attempt, tenantId, tries, error: error.message }, 'nobody answered a start');
        observer.refused(started, error.reason, error.retryAfterMs);
        const live = await this.#find(spec);
        if (live?.cancelRequested === true) throw error;
        const postponed = await this.#recorded(() => store.postponeStart(spec));
        if (postponed === undefined) return undefined;
        deadlineInMs = postponed;
        await clock.sleep(START_RETRY_MS, this.#abandoned.signal);
      }
    }
  }

  async #takeOver(attempt: LiveAttempt): Promise<void> {
    const { backend, ends, clock, log } = this.#options;
    const { runId, tenantId } = attempt;
    const started = {
      ...{ runId, attempt: attempt.attempt, tenantId },
      admittedAtMs: clock.nowMs() - attempt.admittedMsAgo,
    };
    const end = ends.expect(attempt);
    const container = await backend.find(attempt);
    if (container === undefined) ends.ended(attempt, lostAt(clock.date()));
    else if (container.exit !== undefined) ends.ended(attempt, container.exit);
    // Created but never started: its start was interrupted, and the claim token is gone with whoever made it.
    else if (container.state === 'created') ends.ended(attempt, lostAt(clock.date()));
    else {
      try {
        await backend.adopt(attempt);
      } catch (error) {
        if (this.#isAbandoned()) return;
        log.warn({ runId, error: messageOf(error) }, 'a live run cannot be reached any more; ending it');
        await backend.stop(attempt, { graceMs: 0 });
      }
    }
    await this.#watch(attempt, started, end);
  }

  /** Waits for the container's end, and brings it about when the deadline, a cancellation or a stall asks for it. */
  async #watch(live: LiveAttempt, started: StartedAttempt, end: Promise<Exit>): Promise<void> {
    const { changes, clock, observer, claimTimeoutMs, log } = this.#options;
    const { signal: abandoned } = this.#abandoned;
    if (abandoned.aborted) return;
    const over = new AbortController();
    const left = Promise.withResolvers<undefined>();
    const leave = (): void => left.resolve(undefined);
    abandoned.addEventListener('abort', leave, { once: true });
    const { runId } = started;

    const stopFor = (cause: StopCause | null, graceMs: number): void => {
      void this.#stop(started, cause, graceMs, over.signal);
    };
    const cancelClaimTimer = clock.after(live.claimed ? Infinity : claimTimeoutMs - live.admittedMsAgo, () =>
      stopFor('CLAIM_TIMEOUT', 0),
    );
    const cancelDeadline = clock.after(live.deadlineInMs, () =>
      stopFor('DEADLINE_EXCEEDED', DEADLINE_GRACE_MS),
    );
    let cancelExitTimer: (() => void) | undefined;
    let claimed = live.claimed;
    const onClaimed = (): void => {
      if (claimed) return;
      claimed = true;
      cancelClaimTimer();
      observer.claimed(started);
    };
    const onRun = (change: RunChange): void => {
      if (change.attempt !== started.attempt) return;
      if (change.cancelRequested) stopFor('CANCELED', CANCEL_GRACE_MS);
      if (change.status === 'RUNNING') onClaimed();
    };
    const onResult = (result: AttemptRef): void => {
      if (result.attempt !== started.attempt) return;
      cancelExitTimer ??= clock.after(EXIT_GRACE_MS, () => stopFor(null, 0));
    };
    const look = (): void => {
      this.#find(started).then(
        (now) => {
          if (now?.cancelRequested === true) stopFor('CANCELED', CANCEL_GRACE_MS);
          if (now?.claimed === true) onClaimed();
          if (now?.result != null && !over.signal.aborted) onResult(started);
        },
        (error: unknown) => log.warn({ runId, error: messageOf(error) }, 'could not look at a live run'),
      );
    };
    const stopListening = changes.listen({ run: [runId, onRun], result: [runId, onResult], resync: look });
    // What happened before we listened.
    look();
    try {
      const exit = await Promise.race([end, left.promise]);
      if (exit === undefined) return;
      await this.#settle(
        started,
        (now) => judge({ ...now, exit, deadlineAfterExitMs: deadlineAfter(exit, now, clock.date()) }),
        exit,
      );
    } finally {
      over.abort();
      cancelClaimTimer();
      cancelDeadline();
      cancelExitTimer?.();
      abandoned.removeEventListener('abort', leave);
      stopListening();
    }
  }

  /**
   * Ends the container, again and again until it has ended: the engine may be away for a while. An end that nobody
   * observes, of a container that vanished meanwhile, is looked up.
   */
  async #stop(
    ref: TenantAttempt,
    cause: StopCause | null,
    graceMs: number,
    over: AbortSignal,
  ): Promise<void> {
    const { store, backend, ends, clock, log } = this.#options;
    const isOver = (): boolean => over.aborted;
    const pause = (ms: number): Promise<void> => clock.sleep(ms, over).catch(() => undefined);
    while (!isOver()) {
      try {
        // Nothing stands when the attempt has ended, or was claimed just before its claim timed out.
        if (cause !== null && (await store.recordStopCause(ref, cause)) === null) {
          // Another leader has ended it: there is nothing to wait for.
          if ((await this.#find(ref)) === undefined) ends.ended(ref, lostAt(clock.date()));
          return;
        }
        await backend.stop(ref, { graceMs });
        await pause(graceMs + OBSERVED_MS);
        if (isOver()) return;
        const container = await backend.find(ref);
        if (container !== undefined && container.exit === undefined) continue;
        ends.ended(ref, container?.exit ?? lostAt(clock.date()));
        return;
      } catch (error) {
        log.warn(
          { runId: ref.runId, attempt: ref.attempt, cause, error: messageOf(error) },
          'could not stop a container; trying again',
        );
        await pause(STOP_RETRY_MS);
      }
    }
  }

  /** Records how the attempt ended, and what follows; then removes what is left of it. */
  async #settle(
    started: StartedAttempt,
    judgeNow: (live: LiveAttempt) => Verdict,
    exit: Exit | null,
  ): Promise<void> {
    const { store, policy, clock, observer, random, log } = this.#options;
    for (;;) {
      const live = await this.#find(started);
      if (live === undefined) break;
      const verdict = judgeNow(live);
      const sequel = decideSequel(verdict, live, policy, random());
      const recorded = await this.#recorded(() =>
        sequel.kind === 'end'
          ? store.finishRun(started, sequel.verdict, exit)
          : store.requeueRun(started, verdict, exit, sequel.delayMs),
      );
      if (!recorded) {
        // Canceled, or recorded by somebody else, in this moment.
        await clock.sleep(RECORD_RETRY_MS, this.#abandoned.signal);
        continue;
      }
      const last = sequel.kind === 'end' ? sequel.verdict : verdict;
      const { runId, attempt, tenantId } = started;
      const { status, reason, message } = last;
      log.info({ runId, attempt, tenantId, status, reason, message, sequel: sequel.kind }, 'attempt ended');
      if (exit !== null && wasRefused(verdict, exit)) observer.refused(started, verdict.reason);
      observer.ended({ ...started, verdict: last, claimed: live.claimed, final: sequel.kind === 'end' });
      break;
    }
    await this.#remove(started);
  }

  /** @returns the attempt while it holds its slot. */
  async #find(ref: AttemptRef): Promise<LiveAttempt | undefined> {
    const live = await this.#recorded(() => this.#options.store.findLive(ref.runId));
    return live?.attempt === ref.attempt ? live : undefined;
  }

  /** Asks PostgreSQL until it answers: a run that has ended must not wait for reconciliation to be seen. */
  async #recorded<T>(ask: () => Promise<T>): Promise<T> {
    const { clock, log } = this.#options;
    for (;;) {
      this.#abandoned.signal.throwIfAborted();
      try {
        return await ask();
      } catch (error) {
        log.warn({ error: messageOf(error) }, 'the record does not answer; asking again');
        await clock.sleep(RECORD_RETRY_MS, this.#abandoned.signal);
      }
    }
  }

  /** What cannot be removed now is removed by reconciliation. */
  async #remove(ref: TenantAttempt): Promise<void> {
    this.#options.ends.forget(ref);
    try {
      await this.#options.backend.remove(ref);
    } catch (error) {
      this.#options.log.warn(
        { runId: ref.runId, error: messageOf(error) },
        'could not remove a container yet',
      );
    }
  }
}

const lostAt = (at: Date): Exit => ({ kind: 'lost', exitCode: null, oomKilled: false, at });

function startFailure(error: unknown): Verdict {
  const known = error instanceof BackendError;
  return {
    status: 'FAILED',
    reason: known ? error.reason : 'RUNNER_LOST',
    message: `the container could not be started: ${messageOf(error)}`,
    infrastructure: known ? error.retryable : true,
  };
}

/** Whether the container never came to work, so that starting fewer may help; what a program does is nobody's pressure. */
const wasRefused = (verdict: Verdict, exit: Exit): verdict is Verdict & { readonly reason: Reason } =>
  verdict.reason !== null && (exit.kind === 'unstarted' || verdict.reason === 'CLAIM_TIMEOUT');

/**
 * By how much the deadline came after the exit, in ms. PostgreSQL says how far the deadline is from now, and the engine's
 * clock, which is this machine's, how long ago the exit was.
 */
const deadlineAfter = (exit: Exit, { deadlineInMs }: LiveAttempt, now: Date): number =>
  deadlineInMs + Math.max(0, now.getTime() - exit.at.getTime());
