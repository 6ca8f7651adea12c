/** One value that is not allowed. */
export interface Problem {
  /** Where the value is, e.g. `tenants[2].maxConcurrent`. */
  readonly key: string;
  /** The value as JSON, cut to a readable length, or `missing`. */
  readonly value: string;
  /** What is allowed there. */
  readonly allowed: string;
}

/** A message names this many problems; the others are counted. */
const PROBLEMS_IN_MESSAGE = 10;

/** Properties of a construct, or keys of an environment file, have values that are not allowed. */
export class InvalidValueError extends Error {
  override readonly name = 'InvalidValueError';
  /** The construct or the file, e.g. `RunJob` or `environments/dev.yaml`. */
  readonly source: string;
  /** All of them, at least one. */
  readonly problems: readonly Problem[];

  constructor(source: string, problems: readonly Problem[]) {
    const lines = problems
      .slice(0, PROBLEMS_IN_MESSAGE)
      .map(({ key, value, allowed }) => `${source}: ${key} is ${value}; allowed: ${allowed}`);
    const more = problems.length - lines.length;
    super([...lines, ...(more > 0 ? [`${source}: and ${more} more`] : [])].join('\n'));
    this.source = source;
    this.problems = problems;
  }
}
