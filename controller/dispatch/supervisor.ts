import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { Logger } from 'pino';
import type { AttemptSpec, Backend, BackendAttempt, TenantAttempt } from '../backends/types.ts';
import { BackendError, messageOf } from '../errors.ts';
import { hashToken, newToken } from '../gateway/tokens.ts';
import type { Exit } from '../model/exit.ts';
import type { AttemptRef, RunId } from '../model/ids.ts';
import { isTerminal } from '../model/run-status.ts';
import { decideSequel, judge, type AttemptPolicy, type StopCause, type Verdict } from '../model/verdict.ts';
import { findLiveAttempt, type LiveAttempt } from '../store/attempts.ts';
import type { Notifications, RunChange } from '../store/notifications.ts';
import {
  admitRun,
  endQueuedRun,
  finishRun,
  postponeStart,
  recordContainer,
  recordStopCause,
  requeueRun,
} from '../store/run-transitions.ts';
import type { AttemptEnds } from './attempt-ends.ts';

/** What became of a run that was supervised. */
export type Outcome =
  | { readonly kind: 'ended' }
  /** Its tenant's cap, or the global one, is full; or it is left to the next leader. */
  | { readonly kind: 'held' }
  /** Infrastructure failed; another attempt is due after this delay. */
  | { readonly kind: 'retry'; readonly delayMs: number };

export interface SupervisorOptions {
  readonly pool: pg.Pool;
  readonly backend: Backend;
  readonly ends: AttemptEnds;
  readonly notifications: Notifications;
  readonly policy: AttemptPolicy;
  /** A container that has not claimed its payload this long after its start is given up. */
  readonly claimTimeoutMs: number;
  readonly log: Logger;
}

/** What a container gets between SIGTERM and SIGKILL when it is canceled: time to report. */
const CANCEL_GRACE_MS = 5_000;
/** The runner ends itself before its deadline; what is alive at the deadline is killed. */
const DEADLINE_GRACE_MS = 0;
/** How long a container may live on after the runner gave its result. */
const EXIT_GRACE_MS = 3_000;
const STOP_RETRY_MS = 1_000;
/** A start that nobody answered is repeated after this long. */
const START_RETRY_MS = 1_000;

/**
 * Leads one attempt of a run from its slots to its end: admit, start, watch, judge, record, remove. Everything is
 * decided by PostgreSQL, so any step may be repeated by another supervisor after a crash.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #live = new Map<RunId, Promise<Outcome>>();
  readonly #abandoned = new AbortController();

  constructor(options: SupervisorOptions) {
    this.#options = options;
    // Every run that is watched listens to it.
    setMaxListeners(0, this.#abandoned.signal);
  }

  /** @returns the runs that are being supervised now. */
  get live(): ReadonlySet<RunId> {
    return new Set(this.#live.keys());
  }

  /** Leads the run through one attempt. Called again for the same run meanwhile, it joins. */
  async supervise(runId: RunId): Promise<Outcome> {
    return await this.#once(runId, () => this.#admit(runId));
  }

  /** Takes over an attempt that a controller before us started. */
  async adopt(attempt: LiveAttempt): Promise<Outcome> {
    return await this.#once(attempt.runId, () => this.#takeOver(attempt));
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

  async #once(runId: RunId, work: () => Promise<Outcome>): Promise<Outcome> {
    const running = this.#live.get(runId);
    if (running !== undefined) return await running;
    const outcome = work().finally(() => this.#live.delete(runId));
    this.#live.set(runId, outcome);
    return await outcome;
  }

  async #admit(runId: RunId): Promise<Outcome> {
    const { pool, backend, log } = this.#options;
    if (this.#isAbandoned()) return LEFT;
    const claimToken = backend.claimProof === 'token' ? newToken() : null;
    const admission = await admitRun(pool, runId, {
      backend: backend.name,
      claimTokenHash: claimToken === null ? null : hashToken(claimToken),
    });
    switch (admission.kind) {
      case 'admitted':
        break;
      case 'held':
        return { kind: 'held' };
      case 'unknown':
        log.warn({ runId }, 'a job names a run that does not exist');
        return { kind: 'ended' };
      case 'refused': {
        if (isTerminal(admission.status)) return { kind: 'ended' };
        if (admission.status === 'QUEUED') {
          await endQueuedRun(pool, runId, CANCELED_BEFORE_START);
          return { kind: 'ended' };
        }
        const live = await findLiveAttempt(pool, runId);
        return live === undefined ? { kind: 'held' } : await this.#takeOver(live);
      }
    }
    const { attempt } = admission;
    const end = this.#options.ends.expect(attempt);
    let container: BackendAttempt | undefined;
    try {
      container = await this.#start({ ...attempt, claimToken });
    } catch (error) {
      if (this.#isAbandoned()) return LEFT;
      await this.#remove(attempt);
      return await this.#settle(attempt, startFailure(error), null);
    }
    if (container !== undefined) {
      await recordContainer(pool, container).catch((error: unknown) => {
        log.warn({ runId, error: messageOf(error) }, 'could not record which container a run got');
      });
    }
    const live = await findLiveAttempt(pool, runId);
    if (live?.attempt !== attempt.attempt) {
      await this.#remove(attempt);
      return { kind: 'ended' };
    }
    return await this.#watch(live, end);
  }

  /**
   * Starts the attempt, however long nobody answers: this says nothing about the run, so it costs none of its attempts and
   * none of its time. The same attempt is started again, because it may be there already.
   * @returns its container, or undefined when it claimed its payload, or was ended, although nobody had answered.
   * @throws {BackendError} when it cannot be started, or is to be canceled first.
   */
  async #start(spec: AttemptSpec): Promise<BackendAttempt | undefined> {
    const { pool, backend, log } = this.#options;
    let { deadlineAt } = spec;
    for (let tries = 1; ; tries += 1) {
      try {
        return await backend.start({ ...spec, deadlineAt });
      } catch (error) {
        if (!(error instanceof BackendError && error.unanswered) || this.#isAbandoned()) throw error;
        const { runId, attempt, tenantId } = spec;
        log.warn({ runId, attempt, tenantId, tries, error: error.message }, 'nobody answered a start');
        const live = await findLiveAttempt(pool, runId);
        if (live?.attempt === attempt && live.cancelRequested) throw error;
        const postponed = await postponeStart(pool, spec);
        if (postponed === undefined) return undefined;
        deadlineAt = postponed;
        await delay(START_RETRY_MS, undefined, { signal: this.#abandoned.signal });
      }
    }
  }

  async #takeOver(attempt: LiveAttempt): Promise<Outcome> {
    const { backend, ends, log } = this.#options;
    const end = ends.expect(attempt);
    const container = await backend.find(attempt);
    if (container === undefined) ends.ended(attempt, lostExit());
    else if (container.exit !== undefined) ends.ended(attempt, container.exit);
    // Created but never started: its start was interrupted, and the claim token is gone with whoever made it.
    else if (container.state === 'created') ends.ended(attempt, lostExit());
    else {
      try {
        await backend.adopt(attempt);
      } catch (error) {
        if (this.#isAbandoned()) return LEFT;
        log.warn(
          { runId: attempt.runId, error: messageOf(error) },
          'a live run cannot be reached any more; ending it',
        );
        await backend.stop(attempt, { graceMs: 0 });
      }
    }
    return await this.#watch(attempt, end);
  }

  /** Waits for the container's end, and brings it about when the deadline, a cancellation or a stall asks for it. */
  async #watch(attempt: LiveAttempt, end: Promise<Exit>): Promise<Outcome> {
    const { notifications, pool, claimTimeoutMs, log } = this.#options;
    const { signal: abandoned } = this.#abandoned;
    if (abandoned.aborted) return LEFT;
    const over = new AbortController();
    const left = Promise.withResolvers<undefined>();
    const leave = (): void => left.resolve(undefined);
    abandoned.addEventListener('abort', leave, { once: true });

    const stopFor = (cause: StopCause, graceMs: number): void => {
      void this.#stop(attempt, cause, graceMs, over.signal);
    };
    const onRun = (change: RunChange): void => {
      if (change.runId !== attempt.runId || change.attempt !== attempt.attempt) return;
      if (change.cancelRequested) stopFor('CANCELED', CANCEL_GRACE_MS);
      if (change.status === 'RUNNING') claimTimer.cancel();
    };
    const onResult = (result: AttemptRef): void => {
      if (result.runId !== attempt.runId || result.attempt !== attempt.attempt) return;
      later(EXIT_GRACE_MS, over.signal, () => void this.#stop(attempt, null, 0, over.signal));
    };
    const look = (): void => {
      findLiveAttempt(pool, attempt.runId).then(
        (live) => {
          if (live?.cancelRequested === true) stopFor('CANCELED', CANCEL_GRACE_MS);
          if (live?.claimed === true) claimTimer.cancel();
          if (live?.result != null) onResult(attempt);
        },
        (error: unknown) =>
          log.warn({ runId: attempt.runId, error: messageOf(error) }, 'could not look at a live run'),
      );
    };

    const claimTimer = later(
      attempt.claimed ? Infinity : attempt.startingAt.getTime() + claimTimeoutMs - Date.now(),
      over.signal,
      () => stopFor('CLAIM_TIMEOUT', 0),
    );
    later(attempt.deadlineAt.getTime() - Date.now(), over.signal, () =>
      stopFor('DEADLINE_EXCEEDED', DEADLINE_GRACE_MS),
    );
    notifications.on('run', onRun).on('result', onResult).on('resync', look);
    // What happened before we listened.
    look();
    try {
      const exit = await Promise.race([end, left.promise]);
      return exit === undefined ? LEFT : await this.#conclude(attempt, exit);
    } finally {
      over.abort();
      abandoned.removeEventListener('abort', leave);
      notifications.off('run', onRun).off('result', onResult).off('resync', look);
    }
  }

  /** Ends the container, again and again until it has ended: the engine may be away for a while. */
  async #stop(
    ref: TenantAttempt,
    cause: StopCause | null,
    graceMs: number,
    over: AbortSignal,
  ): Promise<void> {
    const { pool, backend, log } = this.#options;
    while (!over.aborted) {
      try {
        // Nothing stands when the attempt has ended, or was claimed just before its claim timed out.
        if (cause !== null && (await recordStopCause(pool, ref, cause)) === null) return;
        await backend.stop(ref, { graceMs });
        return;
      } catch (error) {
        log.warn(
          { runId: ref.runId, attempt: ref.attempt, cause, error: messageOf(error) },
          'could not stop a container; trying again',
        );
        await delay(STOP_RETRY_MS, undefined, { signal: over }).catch(() => undefined);
      }
    }
  }

  async #conclude(ref: TenantAttempt, exit: Exit): Promise<Outcome> {
    const live = await findLiveAttempt(this.#options.pool, ref.runId);
    if (live?.attempt !== ref.attempt) {
      await this.#remove(ref);
      return { kind: 'ended' };
    }
    return await this.#settle(ref, judge({ ...live, exit }), exit);
  }

  async #settle(ref: TenantAttempt, verdict: Verdict, exit: Exit | null): Promise<Outcome> {
    const { pool, policy, log } = this.#options;
    const live = await findLiveAttempt(pool, ref.runId);
    if (live?.attempt !== ref.attempt) return { kind: 'ended' };
    const sequel = decideSequel(verdict, live, policy, Math.random());
    const recorded =
      sequel.kind === 'end'
        ? await finishRun(pool, ref, sequel.verdict, exit)
        : await requeueRun(pool, ref, verdict, exit);
    const { status, reason, message } = sequel.kind === 'end' ? sequel.verdict : verdict;
    const { runId, attempt } = ref;
    log.info(
      { runId, attempt, tenantId: live.tenantId, status, reason, message, sequel: sequel.kind, recorded },
      'attempt ended',
    );
    await this.#remove(ref);
    return sequel.kind === 'end' ? { kind: 'ended' } : sequel;
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

/** Whoever leads next finds the run as it is. */
const LEFT: Outcome = { kind: 'held' };

const CANCELED_BEFORE_START: Verdict = {
  status: 'CANCELED',
  reason: 'CANCELED',
  message: 'canceled before it started',
  infrastructure: false,
};

const lostExit = (): Exit => ({ kind: 'lost', exitCode: null, oomKilled: false, at: new Date() });

function startFailure(error: unknown): Verdict {
  const known = error instanceof BackendError;
  return {
    status: 'FAILED',
    reason: known ? error.reason : 'RUNNER_LOST',
    message: `the container could not be started: ${messageOf(error)}`,
    infrastructure: known ? error.retryable : true,
  };
}

/** Node's timers hold at most this many milliseconds (2^31 - 1). */
const LONGEST_TIMER_MS = 2_147_483_647;

/** Runs `work` once after `delayMs` (at once when it is past; never when it is infinite), unless `over` aborts first. */
function later(delayMs: number, over: AbortSignal, work: () => void): { readonly cancel: () => void } {
  if (over.aborted || delayMs === Infinity) return { cancel: () => undefined };
  const timer = setTimeout(
    () => {
      over.removeEventListener('abort', cancel);
      work();
    },
    Math.min(Math.max(0, delayMs), LONGEST_TIMER_MS),
  );
  const cancel = (): void => clearTimeout(timer);
  over.addEventListener('abort', cancel, { once: true });
  return { cancel };
}
