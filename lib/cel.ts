/** One thing that is always so: a CEL expression that is true of it, and what a person is told otherwise. */
export interface Rule {
  /** https://kubernetes.io/docs/reference/using-api/cel/ */
  readonly expression: string;
  readonly message: string;
}

/** @returns a value as CEL writes it: texts, booleans, lists and maps as in JSON. */
export const literal = (value: unknown): string => JSON.stringify(value);
/** @returns the conjunction. */
export const all = (...terms: string[]): string => terms.join(' && ');
/** @returns that an optional list has no element. */
export const empty = (list: string): string => `${list}.orValue([]).size() == 0`;
