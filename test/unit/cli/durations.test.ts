import { expect, test } from 'vitest';
import { formatBetween, formatDuration } from '../../../controller/cli/durations.ts';

test.each([
  [0, '0 ms'],
  [839.6, '840 ms'],
  [2345, '2.3 s'],
  [250_000, '4 min 10 s'],
  [119_900, '2 min 0 s'],
  [3_600_000 * 3 + 60_000 * 5, '3 h 5 min'],
])('%d ms is written as %s', (ms, text) => {
  expect(formatDuration(ms)).toBe(text);
});

test('a moment that has not come yet has no duration, and none is below zero', () => {
  expect(formatBetween(new Date(0), null)).toBe('–');
  expect(formatBetween(new Date(10), new Date(0))).toBe('0 ms');
});
