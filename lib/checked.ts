import type { z } from 'zod';
import { InvalidValueError, type Problem } from './errors.ts';

/** Values and keys are shown in messages up to this many characters. */
const SHOWN_CHARACTERS = 80;

const cut = (text: string): string =>
  text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;

const shown = (value: unknown): string => {
  if (value === undefined) return 'missing';
  try {
    return cut(JSON.stringify(value));
  } catch {
    return `a ${typeof value} that JSON cannot hold`;
  }
};

const keyOf = (path: readonly PropertyKey[]): string =>
  path.reduce<string>((key, part) => {
    if (typeof part === 'number') return `${key}[${part}]`;
    return key === '' ? cut(String(part)) : `${key}.${cut(String(part))}`;
  }, '');

const unitOf = (origin: string): string => {
  if (origin === 'string') return ' characters';
  return origin === 'array' ? ' entries' : '';
};

const allowedBy = (issue: z.core.$ZodIssue): string => {
  switch (issue.code) {
    case 'too_small':
      return `at least ${issue.minimum}${unitOf(issue.origin)}`;
    case 'too_big':
      return `at most ${issue.maximum}${unitOf(issue.origin)}`;
    case 'invalid_type':
      return issue.expected === 'int' ? 'a whole number' : `a value of type ${issue.expected}`;
    case 'invalid_value':
      return issue.values.map(shown).join(' or ');
    case 'invalid_key':
    case 'invalid_element':
      return issue.issues.map(allowedBy).join(', ');
    default:
      return issue.message;
  }
};

const problemsOf = (issue: z.core.$ZodIssue): Problem[] => {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      key: keyOf([...issue.path, key]),
      value: shown(issue.input?.[key]),
      allowed: 'no key of this name',
    }));
  }
  const key = keyOf(issue.path) || 'the whole value';
  return [{ key, value: shown(issue.input), allowed: allowedBy(issue) }];
};

/**
 * Parses properties or a file's content where they enter.
 * @param source what the message names, e.g. `RunJob`.
 * @returns the value with its defaults filled in.
 * @throws {InvalidValueError} with every problem: key, value and what is allowed.
 */
export const checked = <Output, Input>(
  source: string,
  schema: z.ZodType<Output, Input>,
  value: Input,
): Output => {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  throw new InvalidValueError(source, result.error.issues.flatMap(problemsOf));
};
