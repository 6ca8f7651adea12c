import type { BackendAttempt, TenantAttempt } from '../backends/types.ts';
import type { Exit } from '../model/exit.ts';
import type { AttemptRef, RunId, TenantId } from '../model/ids.ts';
import type { StopCause, Verdict } from '../model/verdict.ts';
import type { LiveAttempt } from '../store/attempts.ts';
import type { RecentStart } from '../store/demand.ts';
import type { AdmittedAttempt, Wanted } from '../store/run-transitions.ts';
import type { Demand } from './demand.ts';

/**
 * The record as dispatch uses it: PostgreSQL, or the model of it that simulations run on. Every change is a
 * compare-and-set that names the attempt; see the functions of the same names in `store/`.
 */
export interface DispatchStore {
  readonly readDemand: (tenants?: readonly TenantId[]) => Promise<Demand>;
  readonly recentStarts: () => Promise<readonly RecentStart[]>;
  readonly admitRuns: (
    wanted: readonly Wanted[],
    attempt: { readonly backend: string; readonly claimTokenHashes: readonly Buffer[] | null },
  ) => Promise<readonly AdmittedAttempt[]>;
  readonly liveAttempts: () => Promise<readonly LiveAttempt[]>;
  readonly findLive: (runId: RunId) => Promise<LiveAttempt | undefined>;
  readonly postponeStart: (ref: AttemptRef) => Promise<number | undefined>;
  readonly recordContainer: (container: BackendAttempt) => Promise<void>;
  readonly recordStopCause: (ref: TenantAttempt, cause: StopCause) => Promise<StopCause | null>;
  readonly finishRun: (ref: AttemptRef, verdict: Verdict, exit: Exit | null) => Promise<boolean>;
  readonly requeueRun: (
    ref: AttemptRef,
    verdict: Verdict,
    exit: Exit | null,
    delayMs: number,
  ) => Promise<boolean>;
  readonly requestCancel: (runId: RunId) => Promise<unknown>;
}
