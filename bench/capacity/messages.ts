import type { RunId } from '../../controller/model/ids.ts';

/** Where a controller leads, and within which caps. */
export interface LeaderOptions {
  readonly databaseUrl: string;
  /** Where the queue is. @default - in PostgreSQL */
  readonly redisUrl?: string | undefined;
  /** A folder that it may write to. */
  readonly folder: string;
  readonly instance: string;
  readonly maxConcurrent: number;
  readonly gate: Gate;
}

/** What becomes of attempts that were started. */
export type Gate =
  /** They hold their slots. */
  | { readonly kind: 'closed' }
  /** They end this long after their start, and those that hold a slot do from now on. */
  | { readonly kind: 'open'; readonly lifeMs: number };

/** One call of `Backend.start`. */
export interface Start {
  readonly runId: RunId;
  /** See {@link monotonicMs}. */
  readonly at: number;
}

/** What a controller has started since it was asked the last time. */
export interface Started {
  readonly starts: readonly Start[];
  /** What its backend took for all that it ever started, in milliseconds. */
  readonly backendMs: number;
  /** The processor time that its process ever used, in milliseconds. */
  readonly cpuMs: number;
}

/** What is asked of the process of a controller. */
export type Request =
  | { readonly kind: 'lead'; readonly options: LeaderOptions }
  | { readonly kind: 'gate'; readonly gate: Gate }
  /** Answered when so many starts have happened that were not told yet. */
  | { readonly kind: 'starts'; readonly count: number }
  /** Asks for its memory, all garbage collected. */
  | { readonly kind: 'memory' };

/** What it says. */
export type Answer =
  | { readonly kind: 'standing-by' }
  | { readonly kind: 'leading' }
  | ({ readonly kind: 'starts' } & Started)
  | { readonly kind: 'memory'; readonly usage: NodeJS.MemoryUsage }
  | { readonly kind: 'failed'; readonly message: string };
