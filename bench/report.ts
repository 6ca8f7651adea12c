import type { Output } from '../controller/cli/output.ts';
import type { Metric } from './metrics.ts';
import { median } from './statistics.ts';

/** What a benchmark found, as it is shown. */
export interface Report {
  /** Where the time goes: for people. */
  readonly tables: readonly Table[];
  readonly metrics: readonly Metric[];
  /** Sentences below the tables. */
  readonly remarks: readonly string[];
}

export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** Prints where the time goes, then the metrics with their targets; with `--json` the metrics alone, as one object. */
export function print({ tables, metrics, remarks }: Report, output: Output): void {
  for (const { head, rows } of [
    ...tables,
    { head: ['METRIC', 'VALUE', 'TARGET', ''], rows: metrics.map((one) => metricRow(one, output)) },
  ]) {
    output.line();
    output.table(head, rows);
  }
  for (const remark of remarks) output.line(remark);
  output.event(Object.fromEntries(metrics.map(({ key, value }) => [key, value])));
}

/** @returns the rows of a table of medians, in milliseconds. @param stretches of each measured thing, by name. */
export const medianRows = (stretches: readonly Readonly<Record<string, number>>[]): string[][] =>
  Object.keys(stretches[0] ?? {}).map((name) => [
    name,
    median(stretches.map((one) => one[name] ?? 0)).toFixed(1),
  ]);

function metricRow({ key, value, target }: Metric, output: Output): string[] {
  if (target === undefined) return [key, String(value), '', ''];
  const verdict = target.isMet(value) ? output.style('green', 'met') : output.style('red', 'missed');
  return [key, String(value), target.text, verdict];
}
