import type { z } from 'zod';
import { WormholeError } from './errors.ts';

const SHOWN_ISSUES = 5;
const SHOWN_VALUE_LENGTH = 60;

/**
 * Checks a configuration value.
 * @param where what the message starts with: the file, or "the environment".
 * @param secrets keys whose values are never shown.
 * @returns the value with all defaults filled in.
 * @throws {WormholeError} CONFIG_INVALID, with the key path, the value and what is allowed for each problem.
 */
export function checked<T>(
  schema: z.ZodType<T>,
  value: unknown,
  where: string,
  secrets: ReadonlySet<string> = new Set(),
): T {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  const { issues } = result.error;
  const shown = issues.slice(0, SHOWN_ISSUES).map((issue) => describe(issue, secrets));
  const more = issues.length > shown.length ? [`and ${issues.length - shown.length} more`] : [];
  throw new WormholeError('CONFIG_INVALID', `${where}: ${[...shown, ...more].join('; ')}`);
}

function describe(issue: z.core.$ZodIssue, secrets: ReadonlySet<string>): string {
  const path = issue.path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('');
  const key = path.replace(/^\./, '') || 'the document';
  if (issue.code === 'unrecognized_keys') {
    return `${key}: has no key ${issue.keys.map((unknown) => JSON.stringify(unknown)).join(', ')}; remove it`;
  }
  if (issue.input === undefined) return `${key}: is missing; allowed: ${allowed(issue)}`;
  const value = secrets.has(key)
    ? 'has a wrong value (not shown, it may be a secret)'
    : `is ${shown(issue.input)}`;
  return `${key}: ${value}; allowed: ${allowed(issue)}`;
}

/** Lists and objects are only named: whatever was put into them by mistake may be a secret. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  const text = JSON.stringify(value);
  return text.length > SHOWN_VALUE_LENGTH ? `${text.slice(0, SHOWN_VALUE_LENGTH)}…` : text;
}

function allowed(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.expected === 'int' ? 'a whole number' : issue.expected;
    case 'too_small':
      return `at least ${issue.minimum}${unitOf(issue.origin)}`;
    case 'too_big':
      return `at most ${issue.maximum}${unitOf(issue.origin)}`;
    case 'invalid_value':
      return issue.values.map((value) => JSON.stringify(value)).join(', ');
    case 'invalid_format':
    case 'custom':
      return issue.message.replace(/^must be /, '');
    default:
      return issue.message;
  }
}

function unitOf(origin: string): string {
  if (origin === 'string') return ' characters';
  return origin === 'array' ? ' entries' : '';
}
