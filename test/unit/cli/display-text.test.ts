import fc from 'fast-check';
import { expect, test } from 'vitest';
import { displayJson, displayText, shortened } from '../../../controller/cli/display-text.ts';

const OBEYED = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;
const hostile = fc.string({
  unit: fc.oneof(fc.constantFrom('\u001b', '\u009b', '\r', '\n', '\u202e', '[2J'), fc.string()),
});

test('nothing that a terminal obeys gets through', () => {
  expect(displayText('a\u001b[2J\u009b31m\r\nb\u202e')).toBe('a\\u001b[2J\\u009b31m\\u000d\\u000ab\\u202e');
  fc.assert(fc.property(hostile, (text) => !OBEYED.test(displayText(text))));
});

test('ordinary text stays as it is', () => {
  expect(displayText('Grüße, 東京 – 🎉')).toBe('Grüße, 東京 – 🎉');
});

test('JSON means the same afterwards, on one line or indented', () => {
  fc.assert(
    fc.property(fc.dictionary(hostile, hostile), (value) => {
      expect(JSON.parse(displayJson(value))).toEqual({ ...value });
      expect(JSON.parse(displayJson(value, 2))).toEqual({ ...value });
      expect(displayJson(value)).not.toMatch(OBEYED);
      expect(displayJson(value, 2).replaceAll('\n', '')).not.toMatch(OBEYED);
    }),
  );
});

test('what is cut off is marked, and never half a character', () => {
  expect(shortened('abcdef', 4)).toBe('abc…');
  expect(shortened('abcd', 4)).toBe('abcd');
  expect(shortened('ab🎉cd', 4).isWellFormed()).toBe(true);
});
