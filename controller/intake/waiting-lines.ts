import { setTimeout as delay } from 'node:timers/promises';
import type { TenantId } from '../model/ids.ts';
import type { RunStatus } from '../model/run-status.ts';
import type { RunChanges } from '../store/notifications.ts';

/** What came of one try: something, or that it has to be tried again later. */
export type Try<T> =
  | { readonly kind: 'done'; readonly value: T }
  /** Worth trying when a run has left the tenant's queue, and after this long in any case. */
  | { readonly kind: 'full'; readonly retryAfterMs: number };

interface Waiter {
  readonly attempt: () => Promise<Try<void>>;
  gone: boolean;
}

interface Line {
  readonly waiters: Waiter[];
  /** Ends the pause of the first. */
  wake: () => void;
}

/** Between two tries for one tenant, however fast its queue moves. */
const LEAST_PAUSE_MS = 50;
/** A run that gets into one of these has left the queue, or may have. */
const LEAVES_QUEUE: ReadonlySet<RunStatus> = new Set(['STARTING', 'CANCELED', 'FAILED', 'TIMEOUT']);

/**
 * Those who wait for a place in a full queue: a line for each tenant, whose first tries whenever a place may have become
 * free. In the order in which they came, one try at a time, and no tenant waits for another.
 */
export class WaitingLines {
  readonly #changes: RunChanges;
  readonly #lines = new Map<TenantId, Line>();

  constructor(changes: RunChanges) {
    this.#changes = changes;
  }

  /** @returns how many wait for a place in the tenant's queue. */
  lengthOf(tenantId: TenantId): number {
    return this.#lines.get(tenantId)?.waiters.length ?? 0;
  }

  /**
   * Waits for its turn, then for `attempt` to be done.
   * @throws what `attempt` throws; the signal's reason, when it aborts before that is done.
   */
  async wait<T>(tenantId: TenantId, attempt: () => Promise<Try<T>>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const outcome = Promise.withResolvers<T>();
    const waiter: Waiter = {
      gone: false,
      attempt: async () => {
        try {
          const result = await attempt();
          if (result.kind === 'full') return result;
          outcome.resolve(result.value);
        } catch (error) {
          outcome.reject(error);
        }
        return { kind: 'done', value: undefined };
      },
    };
    const line = this.#lineOf(tenantId);
    line.waiters.push(waiter);
    const leave = (): void => {
      waiter.gone = true;
      outcome.reject(signal.reason);
      line.wake();
    };
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await outcome.promise;
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  #lineOf(tenantId: TenantId): Line {
    const existing = this.#lines.get(tenantId);
    if (existing !== undefined) return existing;
    const line: Line = { waiters: [], wake: () => undefined };
    this.#lines.set(tenantId, line);
    void this.#serve(tenantId, line);
    return line;
  }

  async #serve(tenantId: TenantId, line: Line): Promise<void> {
    const stopListening = this.#changes.listen({
      runs: (change) => {
        if (change.tenantId === tenantId && LEAVES_QUEUE.has(change.status)) line.wake();
      },
      limits: () => line.wake(),
      resync: () => line.wake(),
    });
    // The line is made for one who joins it right after.
    await Promise.resolve();
    for (let [first] = line.waiters; first !== undefined; [first] = line.waiters) {
      // From before the try on, so that nothing is missed that happens meanwhile.
      const woken = new Promise<void>((resolve) => {
        line.wake = resolve;
      });
      const result = first.gone ? null : await first.attempt();
      if (result?.kind === 'full' && !first.gone) await pause(result.retryAfterMs, woken);
      else line.waiters.shift();
    }
    this.#lines.delete(tenantId);
    stopListening();
  }
}

/** Resolves after this long, or when woken, but not at once. */
async function pause(longestMs: number, woken: Promise<void>): Promise<void> {
  const over = new AbortController();
  const longest = delay(longestMs, undefined, { signal: over.signal }).catch(() => undefined);
  await Promise.race([longest, woken]);
  over.abort();
  await delay(LEAST_PAUSE_MS);
}
