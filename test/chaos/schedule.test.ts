import { expect, test } from 'vitest';
import { Random } from './random.ts';
import { FAULT_KINDS, schedule, type PlannedFault } from './schedule.ts';

const first = (count: number, seed: number): PlannedFault[] =>
  schedule(new Random(seed)).take(count).toArray();

test('the same seed gives the same faults, another seed others', () => {
  expect(first(100, 7)).toEqual(first(100, 7));
  expect(first(100, 7)).not.toEqual(first(100, 8));
});

test('every round has every kind', () => {
  const kinds = first(26, 3).map(({ kind }) => kind);
  expect([...new Set(kinds)].sort()).toEqual([...FAULT_KINDS].sort());
  expect(
    first(52, 3)
      .slice(26)
      .map(({ kind }) => kind)
      .sort(),
  ).toEqual(kinds.sort());
});
