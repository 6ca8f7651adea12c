/** What a metric should be. */
export interface Target {
  readonly text: string;
  readonly isMet: (value: number) => boolean;
}

/** One number that a benchmark finds; its key is one of the JSON. */
export interface Metric {
  readonly key: string;
  readonly value: number;
  /** @default - it is there for information */
  readonly target?: Target;
}

export const atMost = (limit: number): Target => ({ text: `≤ ${limit}`, isMet: (value) => value <= limit });
export const atLeast = (limit: number): Target => ({ text: `≥ ${limit}`, isMet: (value) => value >= limit });
export const below = (limit: number): Target => ({ text: `< ${limit}`, isMet: (value) => value < limit });
export const exactly = (wanted: number): Target => ({
  text: `= ${wanted}`,
  isMet: (value) => value === wanted,
});

/** @returns the metric, rounded to what is meaningful. @param digits after the decimal point. */
export const metric = (key: string, value: number, digits: number, target?: Target): Metric => ({
  key,
  value: Number(value.toFixed(digits)),
  ...(target && { target }),
});
