import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../../controller/errors.ts';

const POLL_MS = 100;

/**
 * Tries again until it succeeds.
 * @throws {Error} with what went wrong last, after `timeoutMs`.
 */
export async function until<T>(what: string, timeoutMs: number, attempt: () => Promise<T>): Promise<T> {
  const giveUpAt = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > giveUpAt) {
        throw new Error(`${what} was not ready within ${timeoutMs / 1000} s: ${messageOf(error)}`, {
          cause: error,
        });
      }
    }
    await sleep(POLL_MS);
  }
}
