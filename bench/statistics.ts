/**
 * @param fraction from 0 to 1: 0.5 is the median.
 * @returns the value below which that fraction of the values lies, by linear interpolation between the closest two.
 * @throws {RangeError} when there are no values.
 */
export function quantile(values: readonly number[], fraction: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const position = (sorted.length - 1) * fraction;
  const below = sorted[Math.floor(position)];
  const above = sorted[Math.ceil(position)];
  if (below === undefined || above === undefined) throw new RangeError('no values to summarise');
  return below + (above - below) * (position - Math.floor(position));
}

/** @returns the median. @throws {RangeError} when there are no values. */
export const median = (values: readonly number[]): number => quantile(values, 0.5);
