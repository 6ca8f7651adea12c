import { hash } from 'node:crypto';

/** Keys in one order, so that the order in which somebody wrote them changes nothing. */
const sorted = (_key: string, value: unknown): unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : value;

/** @returns the SHA-256 of a text in lower-case hexadecimal. */
export const digestOfText = (text: string): string => hash('sha256', text);

/** @returns the SHA-256 of a value of plain data, whatever the order of its keys. */
export const digestOf = (value: unknown): string => digestOfText(JSON.stringify(value, sorted));
