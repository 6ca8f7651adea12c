import { z } from 'zod';

const statusSchema = z.object({
  message: z.string().optional(),
  reason: z.string().optional(),
  code: z.number().optional(),
  details: z.object({ retryAfterSeconds: z.number().optional() }).optional(),
});

/**
 * The API server refused a request, or did not answer it.
 * https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
 */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  /** The HTTP status; null when there was no answer: what was asked for may have happened all the same. */
  readonly status: number | null;
  /** Kubernetes' own word, e.g. `AlreadyExists`. */
  readonly reason: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(
    message: string,
    options: {
      readonly status: number | null;
      readonly reason?: string | undefined;
      readonly retryAfterMs?: number | undefined;
      readonly cause?: unknown;
    },
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.status = options.status;
    this.reason = options.reason;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** Whether the same request may succeed a moment later. */
  get transient(): boolean {
    return this.status === null || [401, 408, 429].includes(this.status) || this.status >= 500;
  }

  /**
   * We have no right to do this: for good, or because an API server that has just started does not know the roles yet,
   * or because those of a new tenant come a moment after its namespace.
   */
  get lacksRights(): boolean {
    return this.status === 403 && /cannot [a-z]+ resource/.test(this.message);
  }
}

/**
 * @param content the body of a refusal or of an ERROR event of a watch: a `Status`, if the API server wrote it.
 * @param retryAfterS of the answer's header; NaN without one.
 */
export function refusal(
  httpStatus: number,
  content: unknown,
  what: string,
  retryAfterS = Number.NaN,
): ApiError {
  const { message, reason, code, details } = statusSchema.safeParse(content).data ?? {};
  const seconds = details?.retryAfterSeconds ?? retryAfterS;
  return new ApiError(message ?? `${what}: the API server answered with ${httpStatus}`, {
    status: code ?? httpStatus,
    reason,
    retryAfterMs: Number.isFinite(seconds) ? seconds * 1000 : undefined,
  });
}

/**
 * Waits for a request about one thing by its name. Only the API server's own word counts: what stands before it may answer
 * 404 while it is away.
 * @returns undefined when there is no such thing.
 */
export async function existing<T>(request: Promise<T>): Promise<T | undefined> {
  try {
    return await request;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404 && error.reason === 'NotFound') return undefined;
    throw error;
  }
}

/** Waits for a request for which some refusals are success, e.g. 409 for something that was made already. */
export async function accepting<T>(statuses: readonly number[], request: Promise<T>): Promise<T | undefined> {
  try {
    return await request;
  } catch (error) {
    if (error instanceof ApiError && error.status !== null && statuses.includes(error.status))
      return undefined;
    throw error;
  }
}
