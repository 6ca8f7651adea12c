import { LIMITS } from './limits.ts';

/** A value that JSON can hold. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/**
 * Finds what PostgreSQL's `jsonb` or a reader further down could not take: too much, too deep, or text that is not
 * well-formed Unicode or holds U+0000. Iterative, so that depth cannot exhaust the stack, and over as soon as it is
 * sure that the value is too large.
 * @param maxBytes limit of the value as JSON text, in bytes.
 * @returns what is wrong, in words that follow "input "; or null.
 */
export function problemOfJson(value: unknown, maxBytes: number): string | null {
  const tooLarge = `is over ${maxBytes} bytes of JSON, the most that is allowed`;
  // Every value takes at least one byte of JSON, a text at least one more for each of its characters.
  let leastBytes = 0;
  const open: Iterator<unknown>[] = [[value].values()];
  for (let innermost = open.at(-1); innermost !== undefined; innermost = open.at(-1)) {
    const next = innermost.next();
    if (next.done === true) {
      open.pop();
      continue;
    }
    const current: unknown = next.value;
    leastBytes += 1 + (typeof current === 'string' ? current.length : 0);
    if (leastBytes > maxBytes) return tooLarge;
    if (typeof current === 'string') {
      const problem = problemOfText(current);
      if (problem !== null) return problem;
    } else if (typeof current === 'number') {
      if (!Number.isFinite(current)) return 'holds a number that JSON cannot express';
    } else if (typeof current === 'object' && current !== null) {
      if (open.length > LIMITS.jsonDepth) return `is nested deeper than ${LIMITS.jsonDepth} levels`;
      open.push(Array.isArray(current) ? current.values() : keysAndValues(current));
    } else if (current !== null && typeof current !== 'boolean') {
      return `holds a ${typeof current}, which JSON cannot express`;
    }
  }
  return Buffer.byteLength(JSON.stringify(value)) > maxBytes ? tooLarge : null;
}

function* keysAndValues(object: object): Generator {
  for (const key in object) {
    if (!Object.hasOwn(object, key)) continue;
    yield key;
    yield object[key as keyof typeof object];
  }
}

function problemOfText(text: string): string | null {
  if (text.includes('\u0000')) return 'holds the character U+0000';
  return text.isWellFormed() ? null : 'holds text that is not well-formed Unicode';
}

/** @returns the text with U+0000 and lone surrogates replaced by U+FFFD. */
export const storableText = (text: string): string => text.toWellFormed().replaceAll('\u0000', '\ufffd');

/**
 * Makes any parsed JSON storable: text is made well-formed, and what is nested too deep becomes the string `"…"`.
 * For what a far side sent to a run: refusing it would lose the record.
 */
export function storableJson(value: Json, depth = 1): Json {
  if (typeof value === 'string') return storableText(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth > LIMITS.jsonDepth) return '…';
  if (Array.isArray(value)) return value.map((child) => storableJson(child, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, child]) => [storableText(key), storableJson(child, depth + 1)]),
  );
}

/** What stands in for a value that is too large to keep. */
export const truncationRecord = (value: Json): Json => {
  const text = JSON.stringify(value);
  return { truncated: true, bytes: Buffer.byteLength(text), preview: text.slice(0, 1024).toWellFormed() };
};

/** @returns the value made storable, or its truncation record when it is over `maxBytes` of JSON text. */
export function boundedJson(value: Json, maxBytes: number): Json {
  const storable = storableJson(value);
  return Buffer.byteLength(JSON.stringify(storable)) > maxBytes ? truncationRecord(storable) : storable;
}
