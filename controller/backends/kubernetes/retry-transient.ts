import { setTimeout as delay } from 'node:timers/promises';
import { ApiError } from './api-error.ts';

const TRIES = 4;
const FIRST_RETRY_MS = 200;

/**
 * Asks the API server again when it was too busy or did not answer: for one of many requests that must all succeed.
 * @throws {ApiError} of the last try, or one that another try would get, too.
 */
export async function retryTransient<T>(ask: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof ApiError && error.transient) || tries >= TRIES) throw error;
      const waitMs = Math.max(error.retryAfterMs ?? 0, FIRST_RETRY_MS * 2 ** (tries - 1));
      await delay(waitMs * (0.5 + Math.random() / 2));
    }
  }
}
