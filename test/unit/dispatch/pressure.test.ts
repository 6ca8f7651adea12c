import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Pressure } from '../../../controller/dispatch/pressure.ts';

/** The longest that starts are held after a refusal. */
const LONGEST_HOLD_MS = 30_000;

const anyHistory = fc.array(
  fc.record({
    what: fc.constantFrom('refused', 'claimed'),
    onTheirWay: fc.integer({ min: 1, max: 200 }),
    afterMs: fc.integer({ min: 0, max: 5_000 }),
    agoMs: fc.integer({ min: 0, max: 10_000 }),
  }),
  { maxLength: 40 },
);

/** A start that is tried whenever the pressure lets one, and that takes `startMs` to be claimed or refused. */
function drive(pressure: Pressure, nowMs: number, cap: number, startMs: number): number {
  let now = nowMs;
  while (pressure.isOn) {
    const waitMs = pressure.waitMs(0, now);
    expect(waitMs).toBeLessThan(Infinity);
    now += waitMs;
    const admittedAtMs = now;
    const started = Math.min(cap, pressure.window);
    now += startMs;
    for (let n = 0; n < started; n += 1) pressure.succeeded(admittedAtMs, cap);
  }
  return now;
}

describe('back-pressure', () => {
  test('is none until a start is refused', () => {
    const pressure = new Pressure();
    pressure.succeeded(0, 1);
    expect(pressure.isOn).toBe(false);
    expect(pressure.waitMs(1_000_000, 0)).toBe(0);
  });

  test('halves what may be on its way, and holds twice as long with each refusal that follows', () => {
    const pressure = new Pressure();
    let now = 0;
    const seen: [number, number][] = [];
    for (let n = 0; n < 10; n += 1) {
      pressure.refused(64, now, now);
      seen.push([pressure.window, pressure.heldMs(now)]);
      now += pressure.heldMs(now);
    }
    expect(seen.map(([window]) => window)).toEqual([32, 16, 8, 4, 2, 1, 1, 1, 1, 1]);
    expect(seen.map(([, held]) => held)).toEqual([
      250,
      500,
      1_000,
      2_000,
      4_000,
      8_000,
      16_000,
      ...Array.from({ length: 3 }, () => LONGEST_HOLD_MS),
    ]);
  });

  test('counts the refusals of one wave once', () => {
    const pressure = new Pressure();
    for (let n = 0; n < 10; n += 1) pressure.refused(10, 100, 200 + n);
    expect(pressure.window).toBe(5);
    expect(pressure.heldMs(200)).toBe(250);
    pressure.refused(5, 200, 450);
    expect(pressure.window).toBe(2);
  });

  test('learns nothing from claims of attempts that were admitted before the refusal', () => {
    const pressure = new Pressure();
    pressure.refused(10, 0, 100);
    for (let n = 0; n < 100; n += 1) pressure.succeeded(99, 5);
    expect(pressure.window).toBe(5);
    expect(pressure.isOn).toBe(true);
  });

  test('waits as long as whoever refuses asks for', () => {
    const pressure = new Pressure();
    pressure.refused(10, 0, 0, 7_000);
    expect(pressure.waitMs(0, 0)).toBe(7_000);
    pressure.refused(10, 0, 1_000, 9_000);
    expect(pressure.waitMs(0, 1_000)).toBe(9_000);
  });

  test('never closes for good, whatever happens, and opens fully in bounded time once nothing is refused any more', () => {
    fc.assert(
      fc.property(
        anyHistory,
        fc.integer({ min: 1, max: 500 }),
        fc.integer({ min: 1, max: 5_000 }),
        (history, cap, startMs) => {
          const pressure = new Pressure();
          let now = 0;
          for (const { what, onTheirWay, afterMs, agoMs } of history) {
            now += afterMs;
            if (what === 'refused') pressure.refused(onTheirWay, now - agoMs, now);
            else pressure.succeeded(now - agoMs, cap);
            expect(pressure.window).toBeGreaterThanOrEqual(1);
            expect(pressure.heldMs(now)).toBeLessThanOrEqual(LONGEST_HOLD_MS);
          }
          // It doubles as often as attempts take to start.
          const boundMs = LONGEST_HOLD_MS + startMs * (2 + Math.ceil(Math.log2(cap + 1)));
          expect(drive(pressure, now, cap, startMs) - now).toBeLessThanOrEqual(boundMs);
        },
      ),
    );
  });
});
