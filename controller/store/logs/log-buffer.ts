import type { LogEntry, LogStore } from './types.ts';

/** A line before it is numbered. */
export type UnnumberedEntry = Omit<LogEntry, 'sequence'>;

const FLUSH_MS = 100;
const FLUSH_ENTRIES = 500;
/** Lines that wait while the log store is away; later ones are dropped and counted. */
const MAX_WAITING = 10_000;

/**
 * Collects lines that the platform itself writes about runs, and stores them in batches. Nothing waits for it: what
 * the log store does not take is counted and dropped.
 */
export class LogBuffer {
  readonly #store: LogStore;
  readonly #onLost: (lost: number, error: unknown) => void;
  #waiting: LogEntry[] = [];
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();
  #sequence = Date.now() * 1000;

  constructor(store: LogStore, onLost: (lost: number, error: unknown) => void) {
    this.#store = store;
    this.#onLost = onLost;
  }

  /** Numbers the line by time, so that numbers ascend over restarts of the platform too. */
  add(entry: UnnumberedEntry): void {
    if (this.#waiting.length >= MAX_WAITING) {
      this.#onLost(1, 'the log store is too slow');
      return;
    }
    this.#sequence = Math.max(this.#sequence + 1, Date.now() * 1000);
    this.#waiting.push({ ...entry, sequence: this.#sequence });
    if (this.#waiting.length >= FLUSH_ENTRIES) void this.flush();
    else this.#timer ??= setTimeout(() => void this.flush(), FLUSH_MS);
  }

  /** Stores what waits. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const batch = this.#waiting;
    this.#waiting = [];
    this.#flushing = this.#flushing.then(() => this.#append(batch));
    await this.#flushing;
  }

  async #append(batch: readonly LogEntry[]): Promise<void> {
    if (batch.length === 0) return;
    try {
      await this.#store.append(batch);
    } catch (error) {
      this.#onLost(batch.length, error);
    }
  }
}
