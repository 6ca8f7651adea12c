import type { Exit } from './exit.ts';
import type { Reason } from './reasons.ts';
import type { TerminalStatus } from './run-status.ts';

/** Why the controller ended a container; written before it does. */
export const STOP_CAUSES = ['CANCELED', 'DEADLINE_EXCEEDED', 'CLAIM_TIMEOUT'] as const;
export type StopCause = (typeof STOP_CAUSES)[number];

/** The runner's last word, as the gateway recorded it. */
export interface RunResult {
  readonly status: TerminalStatus;
  readonly reason?: Reason | undefined;
  readonly message?: string | undefined;
}

/** What is known of an attempt whose container has ended. */
export interface AttemptFacts {
  /** Whether the payload was handed out. */
  readonly claimed: boolean;
  readonly stopCause: StopCause | null;
  /** Somebody asked for the run's cancellation, perhaps too late to stop the container for it. */
  readonly cancelRequested: boolean;
  readonly result: RunResult | null;
  readonly exit: Exit;
  /** How long after its end the deadline was, in ms; negative: it ended after its deadline. */
  readonly deadlineAfterExitMs: number;
}

/** How an attempt ended, and with it, unless another attempt follows, the run. */
export interface Verdict {
  readonly status: TerminalStatus;
  readonly reason: Reason | null;
  readonly message: string | null;
  /** The infrastructure failed, not the workflow: another attempt may follow. */
  readonly infrastructure: boolean;
}

const verdict = (status: TerminalStatus, reason: Reason | null, message: string | null): Verdict => ({
  status,
  reason,
  message,
  infrastructure: false,
});
const infrastructureFailure = (reason: Reason, message: string): Verdict => ({
  status: 'FAILED',
  reason,
  message,
  infrastructure: true,
});

const SIGKILL_EXIT = 137;
const SIGTERM_EXIT = 143;

/**
 * Judges an attempt from what the runner said, what we did, and how the container ended: in this order, because the
 * runner knows most and the exit code least. Pure.
 */
export function judge(facts: AttemptFacts): Verdict {
  const { result, stopCause, exit } = facts;
  // Told to stop by whomever, a runner says CANCELED: the cluster, or a person with access to it, cancels no run.
  const isCanceled = stopCause === 'CANCELED' || facts.cancelRequested;
  if (result !== null && (result.status !== 'CANCELED' || isCanceled)) {
    return verdict(result.status, result.reason ?? null, result.message ?? null);
  }
  switch (stopCause) {
    case 'CANCELED':
      return verdict('CANCELED', 'CANCELED', 'canceled on request');
    case 'DEADLINE_EXCEEDED':
      return verdict('TIMEOUT', 'DEADLINE_EXCEEDED', 'stopped at its deadline');
    case 'CLAIM_TIMEOUT':
      return infrastructureFailure('CLAIM_TIMEOUT', 'the runner did not claim its payload in time');
    case null:
      break;
  }
  if (exit.oomKilled) {
    return verdict('FAILED', 'OOM_KILLED', 'the container exceeded its memory limit');
  }
  if (exit.cause !== undefined) return judgeCause(exit.cause);
  const wasTold = result !== null;
  const killed = wasTold || exit.exitCode === SIGKILL_EXIT || exit.exitCode === SIGTERM_EXIT;
  if (exit.kind === 'exited' && killed && facts.deadlineAfterExitMs <= 0) {
    return verdict('TIMEOUT', 'DEADLINE_EXCEEDED', 'ended by the watchdog after its deadline');
  }
  if (wasTold) {
    return infrastructureFailure('RUNNER_LOST', 'the runner was told to stop, and not by the platform');
  }
  if (exit.kind !== 'exited') {
    return infrastructureFailure('RUNNER_LOST', 'the container vanished without an exit code');
  }
  return infrastructureFailure(
    'RUNNER_CRASHED',
    `the container exited with code ${exit.exitCode ?? 'unknown'} and left no result`,
  );
}

function judgeCause({ reason, message }: NonNullable<Exit['cause']>): Verdict {
  switch (reason) {
    case 'DEADLINE_EXCEEDED':
      return verdict('TIMEOUT', reason, message);
    // The same request will be refused again.
    case 'ADMISSION_DENIED':
      return verdict('FAILED', reason, message);
    case 'IMAGE_PULL_FAILED':
    case 'UNSCHEDULABLE':
    case 'QUOTA_EXCEEDED':
    case 'EVICTED':
    case 'NODE_LOST':
    case 'PREEMPTED':
      return infrastructureFailure(reason, message);
  }
}

/** How often, and how soon, an attempt that failed for infrastructure reasons is followed by another. */
export interface AttemptPolicy {
  /** Attempts in all. */
  readonly attempts: number;
  readonly initialDelayMs: number;
  readonly maxDelayMs: number;
}

/** What happens to the run after an attempt ended. */
export type Sequel =
  { readonly kind: 'end'; readonly verdict: Verdict } | { readonly kind: 'retry'; readonly delayMs: number };

/**
 * Decides whether another attempt follows. Before the claim an infrastructure failure is always worth another;
 * after it only if the workflow version says that it may be executed again.
 * @param random a number in [0, 1) for the jitter: delays are between half and all of the exponential step.
 */
export function decideSequel(
  ended: Verdict,
  run: {
    readonly attempt: number;
    readonly claimed: boolean;
    readonly retryAfterClaim: boolean;
    readonly cancelRequested: boolean;
  },
  policy: AttemptPolicy,
  random: number,
): Sequel {
  if (!ended.infrastructure || (run.claimed && !run.retryAfterClaim)) return { kind: 'end', verdict: ended };
  if (run.cancelRequested) {
    return { kind: 'end', verdict: verdict('CANCELED', 'CANCELED', 'canceled on request') };
  }
  if (run.attempt >= policy.attempts) {
    const last = `${ended.reason ?? 'failed'}: ${ended.message ?? 'no message'}`;
    return policy.attempts === 1
      ? { kind: 'end', verdict: ended }
      : {
          kind: 'end',
          verdict: verdict(
            'FAILED',
            'RETRIES_EXHAUSTED',
            `all ${policy.attempts} attempts failed; the last with ${last}`,
          ),
        };
  }
  const step = Math.min(policy.maxDelayMs, policy.initialDelayMs * 2 ** (run.attempt - 1));
  return { kind: 'retry', delayMs: Math.round(step * (0.5 + random / 2)) };
}
