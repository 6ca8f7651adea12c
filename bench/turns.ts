import type { Progress } from './progress.ts';

/** A run of the platform, and what it is compared with, measured right after it. */
export interface Turn<R, B> {
  readonly run: R;
  readonly bare: B;
}

export interface TurnsOptions<R, B> {
  readonly warmUps: number;
  readonly repetitions: number;
  readonly measureRun: () => Promise<R>;
  readonly measureBare: () => Promise<B>;
  readonly progress: Progress;
}

/** Measures both in turn, so that what drifts on the machine meets both. */
export async function takeTurns<R, B>(options: TurnsOptions<R, B>): Promise<Turn<R, B>[]> {
  const { warmUps, repetitions, measureRun, measureBare, progress } = options;
  const turns: Turn<R, B>[] = [];
  for (let done = -warmUps; done < repetitions; done += 1) {
    const turn = { run: await measureRun(), bare: await measureBare() };
    if (done < 0) continue;
    turns.push(turn);
    progress.count('measured', turns.length, repetitions);
  }
  return turns;
}
