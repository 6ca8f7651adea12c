import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { boundedJson, problemOfJson, storableJson, type Json } from '../../../controller/model/json.ts';
import { LIMITS } from '../../../controller/model/limits.ts';

const nested = (depth: number): unknown => JSON.parse('['.repeat(depth) + ']'.repeat(depth));
/** Any JSON, with keys and texts that hurt. */
const hostileJson = fc.letrec((tie) => ({
  text: fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('\u0000', '\ud800', '__proto__', 'constructor'),
  ),
  value: fc.oneof(
    { maxDepth: 5 },
    tie('text'),
    fc.constantFrom(null, true, 0, -0, 1e308),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(tie('text') as fc.Arbitrary<string>, tie('value'), { maxKeys: 4 }),
  ),
})).value;

describe('JSON that people send', () => {
  test.each([
    ['the character U+0000', { a: ['x\u0000'] }, 'U+0000'],
    ['such a key', { 'a\u0000': 1 }, 'U+0000'],
    ['a lone surrogate', { a: '\ud800' }, 'Unicode'],
    ['an infinite number', JSON.parse('{"a": 1e400}'), 'number'],
    ['a function', { a: () => 1 }, 'function'],
  ])('is refused with %s', (_what, value, words) => {
    expect(problemOfJson(value, 1000)).toContain(words);
  });

  test('is refused when too deep or too large, however deep', () => {
    expect(problemOfJson(nested(LIMITS.jsonDepth), 1000)).toBeNull();
    expect(problemOfJson(nested(LIMITS.jsonDepth + 1), 1000)).toContain('nested');
    expect(problemOfJson(nested(5000), 1_000_000)).toContain('nested');
    expect(problemOfJson('x'.repeat(10_000_000), LIMITS.inputBytes)).toContain('bytes');
  });
});

describe('JSON that is far too large', () => {
  test.each([
    ['numbers', 0],
    ['texts', 'xxxxxxxxx'],
    ['objects', { a: 1 }],
    ['empty arrays', []],
  ])('is refused after as much of it as is allowed: %s', (_what, element) => {
    let reads = 0;
    const endless = new Proxy([], {
      get: (target, name): unknown => {
        if (name === 'length') return 1_000_000;
        if (typeof name === 'symbol' || !/^\d+$/.test(name)) return Reflect.get(target, name);
        reads += 1;
        return element;
      },
    });
    expect(problemOfJson({ endless }, 10_000)).toContain('bytes');
    expect(reads).toBeLessThanOrEqual(10_000);
  });

  test('and just below its limit is not', () => {
    const value = { a: [0, '', { b: null }, []], é: '\u0001' };
    const bytes = Buffer.byteLength(JSON.stringify(value));
    expect(problemOfJson(value, bytes)).toBeNull();
    expect(problemOfJson(value, bytes - 1)).toContain('bytes');
  });
});

describe('JSON that a far side sent', () => {
  test('is always storable afterwards, and unchanged if it was before', () => {
    fc.assert(
      fc.property(hostileJson, (value) => {
        const stored = storableJson(value as Json);
        expect(problemOfJson(stored, Infinity)).toBeNull();
        if (problemOfJson(value, Infinity) === null) expect(stored).toEqual(value);
      }),
    );
  });

  test('never grows over its limit', () => {
    fc.assert(
      fc.property(hostileJson, fc.integer({ min: 8000, max: 20_000 }), (value, limit) => {
        const big = [value, 'x'.repeat(limit), '\u0001'.repeat(5000)] as Json;
        const kept = boundedJson(big, limit);
        expect(Buffer.byteLength(JSON.stringify(kept))).toBeLessThanOrEqual(limit);
        expect(kept).toMatchObject({ truncated: true });
      }),
    );
  });
});
