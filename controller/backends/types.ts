import type { Exit } from '../model/exit.ts';
import type { AttemptRef, TenantId, WorkflowVersionId } from '../model/ids.ts';

export type { Exit };

/** CPU, memory and process limits of one run's container. */
export interface RunLimits {
  /** CPU cores, e.g. 0.5. */
  readonly cpus: number;
  /** Memory in MiB; swap is off. */
  readonly memoryMb: number;
  /** Processes and threads. */
  readonly pids: number;
  /** Size of the in-memory `/tmp`, in MiB. */
  readonly tmpMb: number;
}

/** Everything a backend needs to start one attempt. Never a payload, never a credential of the tenant. */
export interface AttemptSpec extends AttemptRef {
  readonly tenantId: TenantId;
  readonly workflowVersionId: WorkflowVersionId;
  readonly limits: RunLimits;
  /** When the run must have ended. */
  readonly deadlineAt: Date;
  /**
   * Spent by the claim; reaches the runner outside argv, image and environment. Null where the container proves by
   * itself who it is (`Backend.claimProof`).
   */
  readonly claimToken: string | null;
}

/** What the backend sees of one attempt: a live container, or one that ended and still waits for `remove`. */
export interface BackendAttempt extends AttemptRef {
  readonly tenantId: TenantId;
  /** The container's id or the Job's uid. */
  readonly containerId: string;
  /** `created`: it needs another `start`. `pending`: it will run without one. */
  readonly state: 'created' | 'pending' | 'running' | 'ended';
  /** Present exactly when `state` is `ended`. */
  readonly exit?: Exit;
}

/** Something that happened to an attempt. The same thing may be observed more than once. */
export type Observation =
  | (AttemptRef & { readonly kind: 'started'; readonly containerId: string; readonly at: Date })
  | (AttemptRef & { readonly kind: 'ended'; readonly containerId: string; readonly exit: Exit });

/**
 * A place where attempts run. One attempt is one container.
 * Everything is idempotent: the controller repeats any call after a crash.
 */
export interface Backend {
  readonly name: 'docker' | 'kubernetes' | 'warm-pool' | 'hybrid';

  /** How a container claims its payload: with the token that `start` gives it, or with its pod's own identity. */
  readonly claimProof: 'token' | 'pod';

  /**
   * Starts the attempt's container, or returns the one that is already there.
   * @throws {BackendError} with a `reason` and whether another attempt may help.
   */
  start(spec: AttemptSpec): Promise<BackendAttempt>;

  /**
   * Makes the platform's side of a live attempt work again after the controller was restarted.
   * A no-op where nothing of it lives in the controller.
   */
  adopt(ref: AttemptRef): Promise<void>;

  /** Ends the container: SIGTERM, after `graceMs` SIGKILL. A container that is gone is success. */
  stop(ref: AttemptRef, options: { readonly graceMs: number }): Promise<void>;

  /** Removes all that `start` made. Called once the end was recorded. What is gone is success. */
  remove(ref: AttemptRef): Promise<void>;

  /** @returns all attempts of this platform instance that the backend knows, ended ones included. */
  list(): Promise<BackendAttempt[]>;

  /**
   * Streams what happens until `signal` aborts. Survives a lost connection: it reconnects, and lists again so
   * that what happened in between is observed too. Never throws but for `signal`.
   */
  observe(signal: AbortSignal): AsyncIterable<Observation>;
}
