import { EXIT_INTERRUPTED } from './exit-codes.ts';

const EXIT_TERMINATED = 143;
/** Terminals, npm and shells each pass on one Ctrl-C: what comes this soon after another signal is the same one. */
const SAME_SIGNAL_MS = 300;

/** Ctrl-C, and what else asks a process to end: once to stop in order, twice to hurry, three times to drop everything. */
export class Interrupt {
  readonly #stop = new AbortController();
  readonly #hurry = new AbortController();
  #exitCode = EXIT_INTERRUPTED;
  #lastAt = 0;

  /** Aborts at the first signal. */
  get stop(): AbortSignal {
    return this.#stop.signal;
  }

  /** Aborts at the second signal. */
  get hurry(): AbortSignal {
    return this.#hurry.signal;
  }

  /** What the process exits with when it was interrupted: 130, or 143 after SIGTERM and when nobody reads any more. */
  get exitCode(): number {
    return this.#exitCode;
  }

  /** What Ctrl-C and SIGTERM do. */
  signal(name: 'SIGINT' | 'SIGTERM'): void {
    const isSame = Date.now() - this.#lastAt < SAME_SIGNAL_MS;
    this.#lastAt = Date.now();
    if (!this.#stop.signal.aborted) {
      if (name === 'SIGTERM') this.#exitCode = EXIT_TERMINATED;
      this.#stop.abort();
    } else if (isSame) {
      return;
    } else if (!this.#hurry.signal.aborted) {
      this.#hurry.abort();
    } else {
      process.exit(this.#exitCode);
    }
  }

  /** The terminal was closed, or whoever read the output has ended: stop in order, however often this is told. */
  hangUp(): void {
    if (!this.#stop.signal.aborted) this.signal('SIGTERM');
  }

  /** Takes the signals of this process from now on, and the errors of its output. */
  listen(): void {
    process.on('SIGINT', () => this.signal('SIGINT'));
    process.on('SIGTERM', () => this.signal('SIGTERM'));
    process.on('SIGHUP', () => this.hangUp());
    for (const output of [process.stdout, process.stderr]) output.on('error', () => this.hangUp());
  }
}
