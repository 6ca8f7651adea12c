import type { BackendAttempt, RunLimits } from '../../controller/backends/types.ts';
import { DUE_AT_MOST, type Demand } from '../../controller/dispatch/demand.ts';
import type { AttemptRef, RunId, TenantId, WorkflowVersionId } from '../../controller/model/ids.ts';
import type { Reason } from '../../controller/model/reasons.ts';
import { isTerminal, statusesBefore, type RunStatus } from '../../controller/model/run-status.ts';
import type { Priority, StartRate } from '../../controller/model/tenant.ts';
import type { RunResult, StopCause, Verdict } from '../../controller/model/verdict.ts';
import type { LiveAttempt } from '../../controller/store/attempts.ts';
import type { ClaimProof } from '../../controller/store/claim-proof.ts';
import type { RecentStart } from '../../controller/store/demand.ts';
import type { RunChange } from '../../controller/store/notifications.ts';
import type { AdmittedAttempt, Wanted } from '../../controller/store/run-transitions.ts';
import type { PlatformLimits } from '../../controller/store/tenants.ts';

/** What of a tenant's row dispatch depends on. */
export interface ModelTenant {
  readonly tenantId: TenantId;
  readonly maxConcurrent: number;
  readonly weight: number;
  readonly priority: Priority;
  readonly startRate: StartRate | undefined;
  readonly paused: boolean;
}

/** What of a new run dispatch depends on. */
export interface ModelNewRun {
  readonly id: RunId;
  readonly tenantId: TenantId;
  readonly workflowVersionId: WorkflowVersionId;
  readonly limits: RunLimits;
  readonly timeoutMs: number;
  readonly retryAfterClaim: boolean;
}

/** A row of `run_attempts`. */
export interface ModelAttempt {
  readonly number: number;
  readonly claimTokenHash: Buffer | null;
  readonly createdAtMs: number;
  containerId: string | null;
  claimed: boolean;
  stopCause: StopCause | null;
  result: RunResult | null;
  ended: boolean;
  reason: Reason | null;
}

/** A row of `workflow_runs`, with its attempts. */
export interface ModelRun extends ModelNewRun {
  status: RunStatus;
  reason: Reason | null;
  attempt: number;
  cancelRequested: boolean;
  startingAtMs: number;
  deadlineAtMs: number;
  dueAtMs: number | null;
  readonly attempts: ModelAttempt[];
}

/** What tells of changes, as the triggers in PostgreSQL do. */
export interface ModelListener {
  readonly changed: (change: RunChange, from: RunStatus | undefined) => void;
  readonly result: (ref: AttemptRef) => void;
  readonly limits: () => void;
}

const isLive = ({ status }: ModelRun): boolean => status === 'STARTING' || status === 'RUNNING';

/**
 * The record in memory: what the functions of the same names in `controller/store` do in PostgreSQL, each all at once. A
 * test (`test/property/store-model.test.ts`) holds it to give the same answers.
 */
export class ModelStore {
  platform: PlatformLimits = { maxConcurrent: 50, startRate: undefined };
  readonly tenants = new Map<TenantId, ModelTenant>();
  /** All runs, oldest first. */
  readonly runs = new Map<RunId, ModelRun>();
  /** Those that have not ended, oldest first. */
  readonly #open = new Map<RunId, ModelRun>();
  readonly #nowMs: () => number;
  readonly #listener: ModelListener;

  /** @param nowMs the record's clock. */
  constructor(nowMs: () => number, listener: ModelListener) {
    this.#nowMs = nowMs;
    this.#listener = listener;
  }

  setPlatformLimits(limits: PlatformLimits): void {
    this.platform = limits;
    this.#listener.limits();
  }

  upsertTenant(tenant: ModelTenant): void {
    this.tenants.set(tenant.tenantId, tenant);
    this.#listener.limits();
  }

  /** Ids only grow. The same run once more changes nothing. */
  insertRun(run: ModelNewRun): void {
    if (this.runs.has(run.id)) return;
    const inserted: ModelRun = {
      ...run,
      ...{ status: 'QUEUED', reason: null, attempt: 0, cancelRequested: false },
      ...{ startingAtMs: 0, deadlineAtMs: 0, dueAtMs: null, attempts: [] },
    };
    this.runs.set(run.id, inserted);
    this.#open.set(run.id, inserted);
    this.#listener.changed(changeOf(inserted), undefined);
  }

  readDemand(asked?: readonly TenantId[]): Demand {
    const now = this.#nowMs();
    const tenantIds = new Set(asked ?? [...this.#open.values()].map(({ tenantId }) => tenantId));
    const live = [...this.#open.values()].filter(isLive);
    const starting = (runs: readonly ModelRun[]): number =>
      runs.filter(({ status }) => status === 'STARTING').length;
    return {
      ...this.platform,
      slots: live.length,
      starting: starting(live),
      tenants: [...tenantIds].flatMap((tenantId) => {
        const tenant = this.tenants.get(tenantId);
        if (tenant === undefined) return [];
        const mine = live.filter((run) => run.tenantId === tenantId);
        const queued = this.#queued(tenantId);
        const later = queued.flatMap(({ dueAtMs }) => (dueAtMs !== null && dueAtMs > now ? [dueAtMs] : []));
        return {
          ...tenant,
          slots: mine.length,
          starting: starting(mine),
          due: Math.min(DUE_AT_MOST, queued.length - later.length),
          dueInMs: later.length === 0 ? null : Math.min(...later) - now,
        };
      }),
    };
  }

  #queued(tenantId: TenantId): ModelRun[] {
    return [...this.#open.values()].filter((run) => run.tenantId === tenantId && run.status === 'QUEUED');
  }

  recentStarts(): RecentStart[] {
    const now = this.#nowMs();
    const rates = [this.platform.startRate, ...[...this.tenants.values()].map(({ startRate }) => startRate)];
    const reachMs = Math.max(0, ...rates.map((rate) => rate?.durationMs ?? 0));
    return [...this.runs.values()]
      .filter(
        ({ tenantId }) =>
          this.platform.startRate !== undefined || this.tenants.get(tenantId)?.startRate !== undefined,
      )
      .flatMap(({ tenantId, attempts }) =>
        attempts.map(({ createdAtMs }) => ({ tenantId, msAgo: now - createdAtMs })),
      )
      .filter(({ msAgo }) => msAgo < reachMs)
      .sort((one, other) => other.msAgo - one.msAgo);
  }

  admitRuns(
    wanted: readonly Wanted[],
    { claimTokenHashes }: { readonly claimTokenHashes: readonly Buffer[] | null },
  ): readonly AdmittedAttempt[] {
    const now = this.#nowMs();
    const slots = (tenantId?: TenantId): number =>
      [...this.#open.values()].filter(
        (run) => isLive(run) && (tenantId === undefined || run.tenantId === tenantId),
      ).length;
    const oldest = wanted.flatMap(({ tenantId, runs }) => {
      const tenant = this.tenants.get(tenantId);
      if (tenant === undefined || tenant.paused) return [];
      const due = this.#queued(tenantId).filter(({ dueAtMs }) => dueAtMs === null || dueAtMs <= now);
      return due.slice(0, Math.max(0, Math.min(runs, tenant.maxConcurrent - slots(tenantId))));
    });
    const free = oldest.slice(0, Math.max(0, this.platform.maxConcurrent - slots()));
    return free.map((run, nth) => {
      run.attempt += 1;
      run.dueAtMs = null;
      this.#startNow(run);
      run.attempts.push({
        ...{ number: run.attempt, claimTokenHash: claimTokenHashes?.[nth] ?? null, createdAtMs: now },
        ...{ containerId: null, claimed: false, stopCause: null, result: null, ended: false, reason: null },
      });
      this.#enter(run, 'STARTING');
      const { id, attempt, tenantId, workflowVersionId, limits, timeoutMs } = run;
      return { runId: id, attempt, tenantId, workflowVersionId, limits, deadlineInMs: timeoutMs };
    });
  }

  #startNow(run: ModelRun): void {
    run.startingAtMs = this.#nowMs();
    run.deadlineAtMs = run.startingAtMs + run.timeoutMs;
  }

  liveAttempts(): LiveAttempt[] {
    return [...this.#open.values()].filter(isLive).map((run) => this.#liveOf(run));
  }

  findLive(runId: RunId): LiveAttempt | undefined {
    const run = this.#open.get(runId);
    return run !== undefined && isLive(run) ? this.#liveOf(run) : undefined;
  }

  #liveOf(run: ModelRun): LiveAttempt {
    const { id, attempt, tenantId, status, cancelRequested, retryAfterClaim } = run;
    const { claimed, stopCause, result } = currentOf(run);
    const now = this.#nowMs();
    return {
      ...{
        runId: id,
        attempt,
        tenantId,
        status,
        cancelRequested,
        retryAfterClaim,
        claimed,
        stopCause,
        result,
      },
      ...{ admittedMsAgo: now - run.startingAtMs, deadlineInMs: run.deadlineAtMs - now },
    };
  }

  postponeStart(ref: AttemptRef): number | undefined {
    const run = this.#inAttempt(ref);
    if (run?.status !== 'STARTING') return undefined;
    this.#startNow(run);
    return run.timeoutMs;
  }

  recordContainer({ containerId, ...ref }: BackendAttempt): void {
    const attempt = this.#attempt(ref);
    if (attempt !== undefined) attempt.containerId = containerId;
  }

  claimRun(ref: AttemptRef, proof: ClaimProof): boolean {
    const run = this.#inAttempt(ref);
    if (run?.status !== 'STARTING' || run.cancelRequested || run.deadlineAtMs <= this.#nowMs()) return false;
    const attempt = currentOf(run);
    if (!isProven(run, attempt, proof) || attempt.claimed || attempt.stopCause !== null || attempt.ended)
      return false;
    attempt.claimed = true;
    this.#enter(run, 'RUNNING');
    return true;
  }

  recordStopCause(ref: AttemptRef, cause: StopCause): StopCause | null {
    const attempt = this.#attempt(ref);
    if (attempt === undefined || attempt.ended) return null;
    if (cause === 'CLAIM_TIMEOUT' && attempt.claimed) return null;
    attempt.stopCause ??= cause;
    return attempt.stopCause;
  }

  recordResult(ref: AttemptRef, result: RunResult): boolean {
    const attempt = this.#attempt(ref);
    if (attempt === undefined || attempt.ended || attempt.result !== null) return false;
    attempt.result = result;
    this.#listener.result({ runId: ref.runId, attempt: ref.attempt });
    return true;
  }

  finishRun(ref: AttemptRef, verdict: Verdict): boolean {
    const run = this.#inAttempt(ref);
    if (run === undefined || !isLive(run) || !statusesBefore(verdict.status).includes(run.status))
      return false;
    this.#endAttempt(run, verdict);
    run.reason = verdict.reason;
    this.#enter(run, verdict.status);
    return true;
  }

  requeueRun(ref: AttemptRef, verdict: Verdict, delayMs: number): boolean {
    const run = this.#inAttempt(ref);
    if (run === undefined || !isLive(run) || run.cancelRequested) return false;
    if (run.status === 'RUNNING' && !run.retryAfterClaim) return false;
    this.#endAttempt(run, verdict);
    run.dueAtMs = this.#nowMs() + delayMs;
    this.#enter(run, 'QUEUED');
    return true;
  }

  requestCancel(runId: RunId): RunStatus | undefined {
    const run = this.runs.get(runId);
    if (run === undefined) return undefined;
    if (!isTerminal(run.status)) run.cancelRequested = true;
    if (run.status === 'QUEUED') run.reason = 'CANCELED';
    this.#enter(run, run.status === 'QUEUED' ? 'CANCELED' : run.status);
    return run.status;
  }

  #endAttempt(run: ModelRun, { reason }: Verdict): void {
    const attempt = currentOf(run);
    attempt.ended = true;
    attempt.reason = reason;
  }

  /** The run if this is the attempt that it is in, or was in last. */
  #inAttempt({ runId, attempt }: AttemptRef): ModelRun | undefined {
    const run = this.runs.get(runId);
    return run?.attempt === attempt && attempt > 0 ? run : undefined;
  }

  #attempt({ runId, attempt }: AttemptRef): ModelAttempt | undefined {
    return this.runs.get(runId)?.attempts[attempt - 1];
  }

  #enter(run: ModelRun, status: RunStatus): void {
    const from = run.status;
    run.status = status;
    if (isTerminal(status)) this.#open.delete(run.id);
    this.#listener.changed(changeOf(run), from);
  }
}

const currentOf = (run: ModelRun): ModelAttempt => run.attempts[run.attempt - 1]!;

const isProven = (run: ModelRun, { claimTokenHash }: ModelAttempt, proof: ClaimProof): boolean =>
  proof.kind === 'token'
    ? claimTokenHash?.equals(proof.hash) === true
    : claimTokenHash === null && run.tenantId === proof.tenantId;

const changeOf = ({ id, tenantId, attempt, status, cancelRequested }: ModelRun): RunChange => ({
  ...{ runId: id, tenantId, attempt, status, cancelRequested },
});
