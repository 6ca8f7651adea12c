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

/** An attempt and whose it is: with both, a backend finds it without having seen it before. */
export interface TenantAttempt extends AttemptRef {
  readonly tenantId: TenantId;
}

/** Everything a backend needs to start one attempt. Never a payload, never a credential of the tenant. */
export interface AttemptSpec extends TenantAttempt {
  readonly workflowVersionId: WorkflowVersionId;
  readonly limits: RunLimits;
  /** How long from now until the run must have ended, in ms. */
  readonly deadlineInMs: number;
  /**
   * Spent by the claim; reaches the runner outside argv, image and environment. Null where the container proves by
   * itself who it is (`Backend.claimProof`).
   */
  readonly claimToken: string | null;
}

/** What the backend sees of one attempt: a live container, or one that ended and still waits for `remove`. */
export interface BackendAttempt extends TenantAttempt {
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
   * Starts the attempt's container, or returns the one that is already there, in whatever state it is by now. Where the
   * cluster does the rest it returns as soon as that is certain (`pending`), and a start that fails there, e.g. for want of
   * the image, is observed as the attempt's end.
   * @throws {BackendError} with a `reason` and whether another attempt may help.
   */
  start(spec: AttemptSpec): Promise<BackendAttempt>;

  /**
   * Makes the platform's side of a live attempt work again after the controller was restarted.
   * A no-op where nothing of it lives in the controller.
   */
  adopt(ref: TenantAttempt): Promise<void>;

  /**
   * Ends the container: SIGTERM, after `graceMs` SIGKILL. May return before it has ended: the end is observed.
   * A container that is gone is success.
   */
  stop(ref: TenantAttempt, options: { readonly graceMs: number }): Promise<void>;

  /**
   * Sees to it that nothing stays of what `start` made, and lists the attempt no more. Called once the end was recorded.
   * What is gone is success; what the platform below removes by itself soon needs no help.
   */
  remove(ref: TenantAttempt): Promise<void>;

  /**
   * Looks one attempt up: a live run is given up for lost on this answer, so it never comes from a view that may be stale.
   * @returns the attempt as it is now, or undefined when there is nothing of it.
   * @throws when that cannot be told now.
   */
  find(ref: TenantAttempt): Promise<BackendAttempt | undefined>;

  /**
   * @returns all attempts of this platform instance that the backend knows, ended ones included until they are removed. It
   * may lag behind, but what `start` returned is in it.
   */
  list(): Promise<BackendAttempt[]>;

  /**
   * Streams what happens until `signal` aborts. Survives a lost connection: it reconnects, and lists again so
   * that what happened in between is observed too. Never throws but for `signal`.
   */
  observe(signal: AbortSignal): AsyncIterable<Observation>;
}
