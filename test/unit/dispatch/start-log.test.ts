import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { StartLog } from '../../../controller/dispatch/start-log.ts';

const anyRate = fc.record({
  max: fc.integer({ min: 1, max: 5 }),
  durationMs: fc.integer({ min: 1, max: 200 }),
});
const pauses = fc.array(fc.integer({ min: 0, max: 80 }), { maxLength: 60 });

describe('a start rate', () => {
  test('is never exceeded in any window, and all of it can be used', () => {
    fc.assert(
      fc.property(anyRate, pauses, (rate, waits) => {
        const log = new StartLog();
        const starts: number[] = [];
        let now = 0;
        for (const wait of waits) {
          now += wait;
          const inWindow = starts.filter((at) => at > now - rate.durationMs).length;
          const waitMs = log.waitMs(rate, now);
          expect(waitMs === 0).toBe(inWindow < rate.max);
          // Not a moment too long: right then, and not before.
          const inWindowAt = (at: number) => starts.filter((start) => start > at - rate.durationMs).length;
          expect(inWindowAt(now + waitMs)).toBeLessThan(rate.max);
          if (waitMs > 0) expect(inWindowAt(now + waitMs - 1)).toBe(rate.max);
          if (waitMs > 0) continue;
          log.started(now);
          starts.push(now);
        }
      }),
    );
  });

  test('that does not exist lets everything start', () => {
    const log = new StartLog();
    for (let n = 0; n < 1000; n += 1) log.started(0);
    expect(log.waitMs(undefined, 0)).toBe(0);
  });

  test('that is lowered counts what was started before', () => {
    const log = new StartLog();
    for (const at of [0, 10, 20]) log.started(at);
    expect(log.waitMs({ max: 5, durationMs: 100 }, 20)).toBe(0);
    expect(log.waitMs({ max: 2, durationMs: 100 }, 20)).toBe(90);
    expect(log.waitMs({ max: 1, durationMs: 100 }, 20)).toBe(100);
  });
});
