import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Deadlines, parseDeadline } from '../../../controller/watchdog/deadlines.ts';

test('who is due is exactly who is past the deadline, the longest overdue first', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(fc.string(), fc.nat(100)), { selector: ([id]) => id }),
      fc.nat(100),
      (all, now) => {
        const deadlines = new Deadlines();
        for (const [id, at] of all) deadlines.set(id, at);
        const due = deadlines.due(now);
        const times = due.map((id) => new Map(all).get(id)!);
        expect(new Set(due)).toEqual(new Set(all.filter(([, at]) => at <= now).map(([id]) => id)));
        expect(times).toEqual([...times].sort((a, b) => a - b));
      },
    ),
  );
});

test('waiting as long as told makes somebody due, and waiting less does not', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(1000), { minLength: 1 }), fc.nat(1000), (all, now) => {
      const deadlines = new Deadlines();
      all.forEach((at, index) => deadlines.set(String(index), at));
      const waitMs = deadlines.nextInMs(now)!;
      expect(deadlines.due(now + waitMs)).not.toEqual([]);
      if (waitMs > 0) expect(deadlines.due(now + waitMs - 1)).toEqual([]);
    }),
  );
});

test('a container that is forgotten is never due', () => {
  const deadlines = new Deadlines();
  deadlines.set('a', 1);
  deadlines.set('b', 2);
  deadlines.set('a', 3);
  expect(deadlines.size).toBe(2);
  deadlines.delete('b');
  expect(deadlines.due(10)).toEqual(['a']);
  deadlines.clear();
  expect(deadlines.due(10)).toEqual([]);
  expect(deadlines.nextInMs(10)).toBeUndefined();
});

test.each([
  ['1800000000123', 1_800_000_000_123],
  [undefined, undefined],
  ['', undefined],
  ['-5', undefined],
  ['1e3', undefined],
  ['soon', undefined],
])('the label %s tells %s', (label, deadlineMs) => {
  expect(parseDeadline(label)).toBe(deadlineMs);
});
