import type { Clock } from '../../controller/clock.ts';
import type { VirtualTime } from './virtual-time.ts';

/** Wall clocks start here; each process's is off by up to a minute. */
export const EPOCH_MS = Date.UTC(2026, 0, 1);

/**
 * A process that a controller lives in. All that reaches the controller (answers, news, timers) comes through `reach`, so a
 * process that was killed never does anything again, and a frozen one does it all when it thaws.
 */
export class Process {
  readonly name: string;
  readonly clock: Clock;
  readonly #time: VirtualTime;
  #state: 'runs' | 'frozen' | 'dead' = 'runs';
  #missed: (() => void)[] = [];

  /** @param skewMs how far its wall clock is off. Its monotonic one starts anywhere, too. */
  constructor(name: string, time: VirtualTime, skewMs: number) {
    this.name = name;
    this.#time = time;
    const after = (delayMs: number, work: () => void): (() => void) => {
      let isCalledOff = false;
      const callOff = time.after(delayMs, () =>
        this.reach(() => {
          if (!isCalledOff) work();
        }),
      );
      return () => {
        isCalledOff = true;
        callOff();
      };
    };
    this.clock = {
      nowMs: () => time.nowMs + Math.abs(skewMs),
      date: () => new Date(EPOCH_MS + time.nowMs + skewMs),
      after,
      every: (periodMs, work) => {
        let callOff = (): void => undefined;
        const again = (): void => {
          callOff = after(periodMs, () => {
            again();
            work();
          });
        };
        again();
        return () => callOff();
      },
      sleep: async (delayMs, signal) => {
        signal?.throwIfAborted();
        const { promise, resolve, reject } = Promise.withResolvers<undefined>();
        const callOff = after(delayMs, () => {
          signal?.removeEventListener('abort', onAbort);
          resolve(undefined);
        });
        const onAbort = (): void => {
          callOff();
          reject(signal?.reason as Error);
        };
        signal?.addEventListener('abort', onAbort, { once: true });
        await promise;
      },
    };
  }

  get isAlive(): boolean {
    return this.#state !== 'dead';
  }

  /** Does something in the process: now, when it thaws, or never. */
  reach(work: () => void): void {
    if (this.#state === 'runs') work();
    else if (this.#state === 'frozen') this.#missed.push(work);
  }

  /** Ends it between two instructions: `kill -9`. */
  kill(): void {
    this.#state = 'dead';
    this.#missed = [];
  }

  /** Stops it between two instructions, as a machine that is suspended. */
  freeze(): void {
    if (this.#state === 'runs') this.#state = 'frozen';
  }

  /** It goes on, with all that it missed, as if no time had passed. */
  thaw(): void {
    if (this.#state !== 'frozen') return;
    this.#state = 'runs';
    for (const work of this.#missed.splice(0)) this.#time.after(0, () => this.reach(work));
  }
}
