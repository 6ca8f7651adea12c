import type { Reason } from './model/reasons.ts';

/** Every error that a user can meet: its HTTP status and the CLI's exit code. Documented in docs/errors.md. */
export const ERROR_CODES = {
  CONFIG_INVALID: { status: 400, exitCode: 2 },
  DEFINITION_INVALID: { status: 400, exitCode: 2 },
  INPUT_INVALID: { status: 400, exitCode: 2 },
  PAYLOAD_INVALID: { status: 400, exitCode: 2 },
  PAYLOAD_TOO_LARGE: { status: 413, exitCode: 2 },
  TENANT_NOT_FOUND: { status: 404, exitCode: 3 },
  RUN_NOT_FOUND: { status: 404, exitCode: 3 },
  WORKFLOW_NOT_FOUND: { status: 404, exitCode: 3 },
  CONNECTION_NOT_FOUND: { status: 404, exitCode: 3 },
  DEAD_LETTER_NOT_FOUND: { status: 404, exitCode: 3 },
  DEAD_LETTER_FINAL: { status: 409, exitCode: 3 },
  QUEUE_FULL: { status: 429, exitCode: 4 },
  IDEMPOTENCY_CONFLICT: { status: 409, exitCode: 2 },
  RUN_ALREADY_ENDED: { status: 409, exitCode: 3 },
  TOKEN_REFUSED: { status: 401, exitCode: 1 },
  CLAIM_REFUSED: { status: 409, exitCode: 1 },
  ATTEMPT_ENDED: { status: 410, exitCode: 1 },
  TOO_MANY_REQUESTS: { status: 429, exitCode: 1 },
  IDENTITY_UNAVAILABLE: { status: 503, exitCode: 5 },
  EGRESS_DENIED: { status: 403, exitCode: 1 },
  CREDENTIALS_UNAVAILABLE: { status: 502, exitCode: 1 },
  ENCRYPTION_KEY_INVALID: { status: 500, exitCode: 2 },
  PLATFORM_NOT_RUNNING: { status: 503, exitCode: 5 },
  ENGINE_UNAVAILABLE: { status: 503, exitCode: 5 },
  IMAGE_BUILD_FAILED: { status: 500, exitCode: 5 },
  DATABASE_UNAVAILABLE: { status: 503, exitCode: 5 },
  BACKEND_FAILED: { status: 502, exitCode: 1 },
  INTERNAL: { status: 500, exitCode: 1 },
} as const;
export type ErrorCode = keyof typeof ERROR_CODES;

/**
 * The one error class that crosses a boundary (CLI, HTTP, queue). Its message names the thing, the value and
 * the way out, and never holds a secret or a payload.
 */
export class WormholeError extends Error {
  override readonly name = 'WormholeError';
  readonly code: ErrorCode;
  /** When trying again makes sense: how long to wait first. */
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; retryAfterMs?: number } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** The HTTP status that goes with the code. */
  get status(): number {
    return ERROR_CODES[this.code].status;
  }

  /** The CLI's exit code that goes with the code. */
  get exitCode(): number {
    return ERROR_CODES[this.code].exitCode;
  }
}

/** A backend could not start an attempt. */
export class BackendError extends WormholeError {
  /** How the run ends if this was its last attempt. */
  readonly reason: Reason;
  /** Whether another attempt may help: an infrastructure failure, not a wrong request. */
  readonly retryable: boolean;
  /**
   * Nobody answered: this says nothing about the attempt, which may even be there. The same start is to be repeated until
   * somebody does.
   */
  readonly unanswered: boolean;

  constructor(
    reason: Reason,
    message: string,
    options: {
      readonly retryable: boolean;
      readonly unanswered?: boolean;
      readonly retryAfterMs?: number;
      readonly cause?: unknown;
    },
  ) {
    super('BACKEND_FAILED', message, options);
    this.reason = reason;
    this.retryable = options.retryable;
    this.unanswered = options.unanswered ?? false;
  }
}

/** @returns the message of whatever was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
