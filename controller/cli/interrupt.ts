import { EXIT_INTERRUPTED } from './exit-codes.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const EXIT_TERMINATED = 143;

/** Ctrl-C, and what else asks a process to end: once to stop in order, twice to hurry, three times to drop everything. */
export class Interrupt {
  readonly #stop = new AbortController();
  readonly #hurry = new AbortController();
  #exitCode = EXIT_INTERRUPTED;

  /** Aborts at the first signal. */
  get stop(): AbortSignal {
    return this.#stop.signal;
  }

  /** Aborts at the second signal. */
  get hurry(): AbortSignal {
    return this.#hurry.signal;
  }

  /** What the process exits with when it was interrupted: 130, or 143 after SIGTERM and SIGHUP. */
  get exitCode(): number {
    return this.#exitCode;
  }

  /** What a signal does. */
  signal(name: (typeof SIGNALS)[number]): void {
    if (!this.#stop.signal.aborted) {
      if (name !== 'SIGINT') this.#exitCode = EXIT_TERMINATED;
      this.#stop.abort();
    } else if (!this.#hurry.signal.aborted) {
      this.#hurry.abort();
    } else {
      process.exit(this.#exitCode);
    }
  }

  /** Takes the signals of this process from now on. */
  listen(): void {
    for (const name of SIGNALS) process.on(name, () => this.signal(name));
  }
}
