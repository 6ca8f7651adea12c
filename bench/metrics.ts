/** What the benchmark finds: the keys of its JSON. */
export interface Metrics {
  /** Median of: a run's time divided by that of the `docker run` right after it. */
  readonly ratio_p50: number;
  readonly run_ms_p50: number;
  readonly run_ms_p95: number;
  readonly docker_run_ms_p50: number;
  readonly docker_run_ms_p95: number;
  readonly runner_start_ms_p50: number;
  readonly cap_violations: number;
  readonly not_terminal: number;
  readonly leftovers: number;
  readonly runs_per_second: number;
  readonly image_mb: number;
}

/** What a metric should be. */
export interface Target {
  readonly text: string;
  readonly isMet: (value: number) => boolean;
}

const atMost = (limit: number): Target => ({ text: `≤ ${limit}`, isMet: (value) => value <= limit });
const below = (limit: number): Target => ({ text: `< ${limit}`, isMet: (value) => value < limit });

/** Of the metrics that have one. */
export const TARGETS: Readonly<Partial<Record<keyof Metrics, Target>>> = {
  ratio_p50: atMost(1.3),
  runner_start_ms_p50: below(250),
  cap_violations: atMost(0),
  not_terminal: atMost(0),
  leftovers: atMost(0),
  image_mb: below(90),
};
