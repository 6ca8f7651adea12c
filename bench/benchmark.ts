import type { Session } from '../controller/cli/session.ts';
import type { Progress } from './progress.ts';
import type { Report } from './report.ts';

/** What a benchmark is measured with. */
export interface BenchContext extends Pick<Session, 'env' | 'streams' | 'interrupt'> {
  readonly progress: Progress;
  /** What was asked to be measured: some of the benchmark's `parts`, or all of them. */
  readonly parts: ReadonlySet<string>;
  /** Of what is measured over many runs: so many. @default - the benchmark's own number */
  readonly runs?: number;
}

/** One thing that can be measured, by its name on the command line. */
export interface Benchmark {
  /** What can be measured alone. */
  readonly parts: readonly string[];
  /**
   * Measures a platform of its own. Whatever happens, nothing of it is left but caches.
   * @throws when something cannot be measured; the reason of an interrupt.
   */
  readonly run: (context: BenchContext) => Promise<Report>;
}
