import { BackendError, messageOf } from '../../errors.ts';
import { ApiError } from './api-error.ts';

/**
 * Says what it means for the run that its Job could not be created.
 * @param what which attempt and where, for the message.
 */
export function startError(error: unknown, what: string): BackendError {
  if (error instanceof BackendError) return error;
  const retryAfterMs = error instanceof ApiError ? error.retryAfterMs : undefined;
  const failed = (
    reason: 'ADMISSION_DENIED' | 'QUOTA_EXCEEDED' | 'UNSCHEDULABLE' | 'NODE_LOST',
    text: string,
    options: { readonly retryable?: boolean; readonly unanswered?: boolean } = {},
  ): BackendError =>
    new BackendError(reason, `${what}: ${text}`, {
      retryable: reason !== 'ADMISSION_DENIED',
      ...(retryAfterMs !== undefined && { retryAfterMs }),
      ...options,
      cause: error,
    });
  const text = messageOf(error);
  if (!(error instanceof ApiError)) return failed('UNSCHEDULABLE', `its Job cannot be made: ${text}`);
  const { status } = error;
  if (status === null) {
    return failed('NODE_LOST', `${text}; is the cluster's API server running?`, { unanswered: true });
  }
  if (status === 404) {
    return failed(
      'ADMISSION_DENIED',
      `${text}; is the tenant in the environment file, and is that synced to the cluster?`,
    );
  }
  if (status === 403 && /exceeded quota/.test(text)) return failed('QUOTA_EXCEEDED', text);
  if (error.lacksRights)
    return failed('ADMISSION_DENIED', `the controller may not start it: ${text}`, { retryable: true });
  if (status === 409 || /failed calling webhook/.test(text)) {
    return failed('UNSCHEDULABLE', `the cluster could not decide about its Job: ${text}`);
  }
  if (error.transient) {
    return failed('UNSCHEDULABLE', `the API server failed: ${text}`, { unanswered: true });
  }
  return failed('ADMISSION_DENIED', `the cluster refuses its Job: ${text}`);
}
