import { beforeEach, expect, test, vi } from 'vitest';
import { Interrupt } from '../../../controller/cli/interrupt.ts';

let interrupt: Interrupt;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'] });
  interrupt = new Interrupt();
  return () => vi.useRealTimers();
});

const state = (): boolean[] => [interrupt.stop.aborted, interrupt.hurry.aborted];
const later = (): void => void vi.setSystemTime(Date.now() + 1000);

test('the first Ctrl-C stops, the second hurries', () => {
  expect(state()).toEqual([false, false]);
  interrupt.signal('SIGINT');
  expect(state()).toEqual([true, false]);
  later();
  interrupt.signal('SIGINT');
  expect(state()).toEqual([true, true]);
  expect(interrupt.exitCode).toBe(130);
});

test('one Ctrl-C that comes from several sides is one', () => {
  for (let i = 0; i < 5; i += 1) interrupt.signal('SIGINT');
  expect(state()).toEqual([true, false]);
});

test('SIGTERM has its own exit code', () => {
  interrupt.signal('SIGTERM');
  expect(interrupt.exitCode).toBe(143);
});

test('a terminal that is closed stops, and never hurries', () => {
  for (let i = 0; i < 5; i += 1) {
    interrupt.hangUp();
    later();
  }
  expect(state()).toEqual([true, false]);
});
