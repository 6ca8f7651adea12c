import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import type { AttemptSpec, Backend, BackendAttempt, Observation } from '../../controller/backends/types.ts';
import { BackendError } from '../../controller/errors.ts';
import { hashToken } from '../../controller/gateway/tokens.ts';
import { attemptName, type AttemptRef, type TenantId } from '../../controller/model/ids.ts';
import type { Reason } from '../../controller/model/reasons.ts';
import { recordResult } from '../../controller/store/attempts.ts';
import { claimRun } from '../../controller/store/run-transitions.ts';

/**
 * A backend without containers, for tests of dispatch: every attempt claims, works for a while, reports SUCCESS and
 * ends, over the same SQL as the gateway.
 */
export class BackendDouble implements Backend {
  readonly name = 'docker';
  readonly claimProof = 'token';
  /** Names of the attempts whose claim succeeded: what was executed. */
  readonly executed: string[] = [];
  /** So many starts, and so many lists, from now on get no answer. */
  unanswered = { starts: 0, lists: 0 };
  /** Tenants whose starts are refused, and why. */
  readonly refusing = new Map<TenantId, Reason>();
  /** Names of the attempts whose start was refused. */
  readonly refused: string[] = [];
  /** Names of the attempts that somebody wanted to be stopped or removed. */
  readonly ended: string[] = [];
  /** Attempts that cannot be removed. */
  readonly stuck = new Set<string>();
  /** The most attempts that ran at once. */
  most = 0;
  readonly #pool: pg.Pool;
  readonly #workMs: number;
  readonly #claims: boolean;
  readonly #alive = new Map<string, BackendAttempt>();
  readonly #observations = new Set<(observation: Observation) => void>();

  /** @param options.claims false: attempts hang and never claim. */
  constructor(pool: pg.Pool, options: { readonly workMs: number; readonly claims: boolean }) {
    this.#pool = pool;
    this.#workMs = options.workMs;
    this.#claims = options.claims;
  }

  start(spec: AttemptSpec): Promise<BackendAttempt> {
    if (this.unanswered.starts > 0) {
      this.unanswered.starts -= 1;
      const options = { retryable: true, unanswered: true };
      return Promise.reject(new BackendError('NODE_LOST', 'no answer', options));
    }
    const name = attemptName(spec);
    const reason = this.refusing.get(spec.tenantId);
    if (reason !== undefined) {
      this.refused.push(name);
      return Promise.reject(new BackendError(reason, 'refused', { retryable: true }));
    }
    const { runId, attempt, tenantId } = spec;
    const container: BackendAttempt = { runId, attempt, tenantId, containerId: name, state: 'running' };
    this.#alive.set(name, container);
    const running = [...this.#alive.values()].filter(({ state }) => state === 'running');
    this.most = Math.max(this.most, running.length);
    if (this.#claims) void this.#work(spec);
    return Promise.resolve(container);
  }

  /** Leaves an ended container behind, of a run that is not live. @param isStuck it cannot be removed. */
  leave(container: BackendAttempt, isStuck: boolean): void {
    this.#alive.set(attemptName(container), container);
    if (isStuck) this.stuck.add(attemptName(container));
  }

  async #work(spec: AttemptSpec): Promise<void> {
    const proof = { kind: 'token', hash: hashToken(spec.claimToken ?? '') } as const;
    const claim = { proof, reportTokenHash: hashToken('report') };
    const claimed = await claimRun(this.#pool, spec, claim).catch(() => false);
    if (claimed) {
      this.executed.push(attemptName(spec));
      await sleep(this.#workMs, undefined, { ref: false });
      await recordResult(this.#pool, spec, { status: 'SUCCESS' }).catch(() => false);
    }
    this.#end(spec, claimed ? 0 : 77);
  }

  #end(ref: AttemptRef, exitCode: number): void {
    const container = this.#alive.get(attemptName(ref));
    if (container === undefined || container.state === 'ended') return;
    const exit = { kind: 'exited', exitCode, oomKilled: false, at: new Date() } as const;
    this.#alive.set(attemptName(ref), { ...container, state: 'ended', exit });
    for (const tell of this.#observations) {
      tell({
        runId: ref.runId,
        attempt: ref.attempt,
        kind: 'ended',
        containerId: container.containerId,
        exit,
      });
    }
  }

  adopt(): Promise<void> {
    return Promise.resolve();
  }

  stop(ref: AttemptRef): Promise<void> {
    this.ended.push(attemptName(ref));
    this.#end(ref, 137);
    return Promise.resolve();
  }

  remove(ref: AttemptRef): Promise<void> {
    this.ended.push(attemptName(ref));
    if (this.stuck.has(attemptName(ref))) return Promise.reject(new Error('removal is already in progress'));
    this.#alive.delete(attemptName(ref));
    return Promise.resolve();
  }

  find(ref: AttemptRef): Promise<BackendAttempt | undefined> {
    return Promise.resolve(this.#alive.get(attemptName(ref)));
  }

  list(): Promise<BackendAttempt[]> {
    if (this.unanswered.lists > 0) {
      this.unanswered.lists -= 1;
      return Promise.reject(new Error('no answer'));
    }
    return Promise.resolve([...this.#alive.values()]);
  }

  async *observe(signal: AbortSignal): AsyncIterable<Observation> {
    const waiting: Observation[] = [];
    let wake = Promise.withResolvers<undefined>();
    const tell = (observation: Observation): void => {
      waiting.push(observation);
      wake.resolve(undefined);
    };
    signal.addEventListener('abort', () => wake.resolve(undefined));
    this.#observations.add(tell);
    while (!signal.aborted) {
      yield* waiting.splice(0);
      await wake.promise;
      wake = Promise.withResolvers<undefined>();
    }
    this.#observations.delete(tell);
  }
}
