import { simulate, type Outcome, type SimulationOptions } from './simulation.ts';

/** What became of many seeds. */
export interface Hunt {
  readonly seeds: number;
  readonly simulatedMs: number;
  readonly runs: number;
  readonly violations: readonly Outcome[];
}

/** So many violations are enough. */
const ENOUGH = 10;

export interface HuntOptions extends Pick<SimulationOptions, 'sabotage'> {
  /** Told of each violation at once. @default - nobody */
  readonly onViolation?: (outcome: Outcome) => void;
  /** The hunt ends with this many. @default 10 */
  readonly enough?: number;
}

/** Simulates one seed after the other, until they are done or enough is found. */
export async function hunt(
  seeds: Iterable<number>,
  { onViolation, enough = ENOUGH, ...options }: HuntOptions = {},
): Promise<Hunt> {
  const violations: Outcome[] = [];
  const all = { seeds: 0, simulatedMs: 0, runs: 0 };
  for (const seed of seeds) {
    const outcome = await simulate(seed, options);
    all.seeds += 1;
    all.simulatedMs += outcome.simulatedMs;
    all.runs += outcome.runs;
    if (outcome.violation === undefined) continue;
    violations.push(outcome);
    onViolation?.(outcome);
    if (violations.length >= enough) break;
  }
  return { ...all, violations };
}

/** @returns `count` seeds from `first` on. */
export function* seedsFrom(first: number, count: number): Generator<number> {
  for (let nth = 0; nth < count; nth += 1) yield first + nth;
}

/** @returns how to see what happened with this seed. */
export const replayOf = (seed: number): string => `npm run simulate -- --seed ${seed}`;
