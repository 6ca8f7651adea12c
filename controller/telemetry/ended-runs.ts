import { Counter } from 'prom-client';
import type { RunId } from '../model/ids.ts';
import { REASONS, type Reason } from '../model/reasons.ts';
import type { TerminalStatus } from '../model/run-status.ts';
import type { Queryable } from '../store/database.ts';
import { readEndedRuns, type EndedRun } from './ended-run.ts';
import type { Metrics } from './metrics.ts';

/** Ends are gathered for this long and read together. */
const GATHER_MS = 200;
const RETRY_MS = 1_000;
/** So many are read at a time. */
const BATCH_RUNS = 500;
/** So many wait while PostgreSQL cannot be read; the ends that come then are not counted. */
const WAITING_RUNS = 20_000;
/** The label value where there is no reason: it went well. */
const NO_REASON = 'NONE';

/** Counts how runs and attempts ended, by what PostgreSQL recorded, and passes them on to be traced. */
export class EndedRuns {
  readonly #runs: Counter<'status' | 'reason'>;
  readonly #attempts: Counter<'mode' | 'reason'>;
  readonly #uncounted: Counter;

  constructor(metrics: Metrics) {
    const registers = [metrics.registry];
    this.#runs = new Counter({
      name: 'wormhole_runs_total',
      help: 'Runs that ended, by status and reason; NONE: it has none, because it went well.',
      labelNames: ['status', 'reason'],
      registers,
    });
    this.#runs.inc({ status: 'SUCCESS', reason: NO_REASON }, 0);
    for (const reason of REASONS) this.#runs.inc({ status: statusOf(reason), reason }, 0);
    this.#attempts = new Counter({
      name: 'wormhole_attempts_total',
      help: 'Attempts of runs that ended, by mode and reason; NONE: it has none, because it went well.',
      labelNames: ['mode', 'reason'],
      registers,
    });
    this.#uncounted = new Counter({
      name: 'wormhole_runs_uncounted_total',
      help: 'Runs that ended and are in no other counter and no trace, because PostgreSQL could not be read for long.',
      registers,
    });
  }

  /**
   * Follows the ends of runs.
   * @param trace told of each run that ended. @default - nobody is
   */
  follow(db: Queryable, trace?: (run: EndedRun) => void): EndsFollowed {
    const waiting = new Set<RunId>();
    let timer: NodeJS.Timeout | undefined;
    let reading: Promise<void> = Promise.resolve();
    let closed = false;

    const readWaiting = async (): Promise<void> => {
      while (waiting.size > 0) {
        const batch = [...waiting].slice(0, BATCH_RUNS);
        const runs = await readEndedRuns(db, batch, { steps: trace !== undefined });
        for (const runId of batch) waiting.delete(runId);
        for (const run of runs) {
          this.#count(run);
          trace?.(run);
        }
      }
    };
    const later = (delayMs: number): void => {
      timer ??= setTimeout(() => {
        timer = undefined;
        // They are still waiting if it failed.
        reading = reading.then(readWaiting).catch(() => (closed ? undefined : later(RETRY_MS)));
      }, delayMs);
    };
    return {
      runEnded: (runId) => {
        if (waiting.size >= WAITING_RUNS) {
          this.#uncounted.inc();
          return;
        }
        waiting.add(runId);
        later(GATHER_MS);
      },
      close: async () => {
        closed = true;
        clearTimeout(timer);
        await reading;
        await readWaiting().catch(() => this.#uncounted.inc(waiting.size));
      },
    };
  }

  #count(run: EndedRun): void {
    this.#runs.inc({ status: run.status, reason: run.reason ?? NO_REASON });
    for (const { backend, reason } of run.attempts) {
      this.#attempts.inc({ mode: backend, reason: reason ?? NO_REASON });
    }
  }
}

/** Ends that are followed. */
export interface EndsFollowed {
  /** The run has ended. Returns at once, and never throws. */
  runEnded(runId: RunId): void;
  /** Counts what is still to be counted, if PostgreSQL is there, and ends. */
  close(): Promise<void>;
}

const statusOf = (reason: Reason): TerminalStatus =>
  reason === 'DEADLINE_EXCEEDED' ? 'TIMEOUT' : reason === 'CANCELED' ? 'CANCELED' : 'FAILED';
