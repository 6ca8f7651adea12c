import { isDeepStrictEqual } from 'node:util';
import type { RunDetail, RunSummary, StepRun } from '../store/runs.ts';
import type { Expectation } from './scenarios.ts';

/** @returns what about the run is not as it should be, in words; nothing when all is. */
export function differences(expected: Expectation, run: RunDetail): string[] {
  return [
    ...differing('status', run.status, expected.status),
    ...differing('reason', run.reason, expected.reason),
    ...(expected.output === undefined ? [] : differing('output', run.output, expected.output)),
    ...Object.entries(expected.steps ?? {}).flatMap(([key, wanted]) => {
      const step = run.steps.find((one) => one.key === key);
      return [
        ...differing(`step ${key}`, step?.status ?? 'missing', wanted.status),
        ...(wanted.tries === undefined ? [] : differing(`tries of ${key}`, step?.tries, wanted.tries)),
        ...(wanted.errorCode === undefined
          ? []
          : differing(`error of ${key}`, errorCodeOf(step), wanted.errorCode)),
      ];
    }),
  ];
}

function differing(what: string, actual: unknown, wanted: unknown): string[] {
  if (isDeepStrictEqual(actual, wanted)) return [];
  return [`${what} is ${JSON.stringify(actual)} instead of ${JSON.stringify(wanted)}`];
}

function errorCodeOf(step: StepRun | undefined): unknown {
  const error = step?.error;
  return typeof error === 'object' && error !== null && !Array.isArray(error) ? error['code'] : undefined;
}

/**
 * @returns how many of the runs held a slot at the same time, at most. A slot is taken and freed by the database's
 *   clock, so this is exact for runs of one attempt.
 */
export function mostSlots(runs: readonly RunSummary[]): number {
  const changes = runs
    .flatMap((run) =>
      run.startingAt === null || run.finishedAt === null
        ? []
        : [
            { at: run.startingAt.getTime(), slots: 1 },
            { at: run.finishedAt.getTime(), slots: -1 },
          ],
    )
    // Times have milliseconds: of the same one, what was freed comes first, as it must have.
    .sort((a, b) => a.at - b.at || a.slots - b.slots);
  let held = 0;
  let most = 0;
  for (const { slots } of changes) {
    held += slots;
    most = Math.max(most, held);
  }
  return most;
}

/** @returns how many of the runs were queued until another of them had ended. */
export const countWaiting = (runs: readonly RunSummary[]): number =>
  runs.filter(
    (run) =>
      run.startingAt !== null &&
      runs.some(
        ({ finishedAt }) =>
          finishedAt !== null && finishedAt > run.queuedAt && finishedAt <= (run.startingAt ?? finishedAt),
      ),
  ).length;
