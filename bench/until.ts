import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 500;

/** Asks until the answer is yes. @throws the signal's reason. */
export async function until(isTrue: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
  while (!(await isTrue())) await delay(POLL_MS, undefined, { signal });
}
