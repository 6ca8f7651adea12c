import { BackendError, messageOf } from '../../errors.ts';

/** @returns the HTTP status with which the engine refused, or null when it did not answer. */
export function engineStatus(error: unknown): number | null {
  return error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number'
    ? error.statusCode
    : null;
}

/**
 * Runs an engine call for which some refusals are success, e.g. 404 for a removal.
 * @returns undefined when the engine answered with one of `statuses`.
 */
export async function accepting<T>(statuses: readonly number[], call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    const status = engineStatus(error);
    if (status !== null && statuses.includes(status)) return undefined;
    throw error;
  }
}

/** @returns whether the engine could not be reached, broke off, or took too long. */
function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error.name === 'AbortError' || error.name === 'TimeoutError') return true;
  const code = 'code' in error ? error.code : undefined;
  const syscall = 'syscall' in error ? error.syscall : undefined;
  return syscall === 'connect' || code === 'ECONNRESET' || code === 'EPIPE';
}

/** The image's entry point does not exist or cannot be executed: the runtime says so with these words. */
const BROKEN_ENTRY_POINT =
  /executable file not found|exec format error|no such file or directory: unknown|permission denied: unknown/;

/**
 * Says what a failed start means for the run.
 * @param what - which attempt and what was tried, for the message
 */
export function startError(error: unknown, what: string): BackendError {
  if (error instanceof BackendError) return error;
  const status = engineStatus(error);
  const text = messageOf(error).trim();
  if (isConnectionError(error)) {
    return new BackendError(
      'NODE_LOST',
      `${what}: the container engine does not answer (${text}); is it running?`,
      { retryable: true, unanswered: true, cause: error },
    );
  }
  if (status === null) {
    return new BackendError('UNSCHEDULABLE', `${what}: this machine cannot prepare it: ${text}`, {
      retryable: true,
      cause: error,
    });
  }
  if (status === 404 && /no such image/i.test(text)) {
    return new BackendError('IMAGE_PULL_FAILED', `${what}: ${text}; build it, or set its name`, {
      retryable: true,
      cause: error,
    });
  }
  if (BROKEN_ENTRY_POINT.test(text)) {
    return new BackendError('RUNNER_CRASHED', `${what}: the image cannot be started: ${text}`, {
      retryable: false,
      cause: error,
    });
  }
  if (status === 400) {
    return new BackendError('ADMISSION_DENIED', `${what}: the container engine refuses it: ${text}`, {
      retryable: false,
      cause: error,
    });
  }
  return new BackendError('UNSCHEDULABLE', `${what}: the container engine failed: ${text}`, {
    retryable: true,
    cause: error,
  });
}
