import { expect, test } from 'vitest';
import { median, quantile } from '../../../bench/statistics.ts';

test('the median is the middle value, or between the middle two', () => {
  expect(median([30, 10, 20])).toBe(20);
  expect(median([40, 10, 20, 30])).toBe(25);
});

test('a quantile between two values is interpolated', () => {
  expect(quantile([10, 20], 0.95)).toBeCloseTo(19.5);
  expect(quantile([7], 0.95)).toBe(7);
});

test('no values have no median', () => {
  expect(() => median([])).toThrow(RangeError);
});
