/**
 * What a terminal would obey instead of show: C0 and C1 controls, DEL, line separators, and the characters that
 * reorder text (Unicode TR 36, "Trojan Source"). C1 counts: U+009B starts an escape sequence as ESC [ does.
 */
const HOSTILE = /[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** @returns the text with everything that a terminal would obey made visible, on one line. */
export const displayText = (text: string): string => text.replace(HOSTILE, escaped);

/** @returns the value as JSON text that means the same and that is safe to print to a terminal. */
export const displayJson = (value: unknown, indent?: number): string =>
  indent === undefined
    ? displayText(JSON.stringify(value))
    : JSON.stringify(value, null, indent).split('\n').map(displayText).join('\n');

/** @returns the start of the text, of at most `length` characters, with "…" where something was cut off. */
export const shortened = (text: string, length: number): string =>
  text.length > length ? `${text.slice(0, length - 1).toWellFormed()}…` : text;
