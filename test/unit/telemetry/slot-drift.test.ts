import { expect, test } from 'vitest';
import type { BackendAttempt } from '../../../controller/backends/types.ts';
import { newRunId, tenantIdSchema, type AttemptRef } from '../../../controller/model/ids.ts';
import { SlotDrift } from '../../../controller/telemetry/slot-drift.ts';

const SETTLED_MS = 30_000;
const slot = (): AttemptRef => ({ runId: newRunId(), attempt: 1 });
const container = (ref: AttemptRef, state: BackendAttempt['state'] = 'running'): BackendAttempt => ({
  ...ref,
  tenantId: tenantIdSchema.parse('acme'),
  containerId: 'c',
  state,
});
const NONE = { slotsWithoutContainer: 0, containersWithoutSlot: 0 };

function make() {
  const clock = { ms: 0 };
  const drift = new SlotDrift(() => clock.ms);
  return {
    at: (ms: number, slots: readonly AttemptRef[], containers: readonly BackendAttempt[]) => {
      clock.ms = ms;
      return drift.compare(slots, containers);
    },
  };
}

test('an attempt that was admitted and not started yet, or has ended and is not recorded yet, is no drift', () => {
  const { at } = make();
  const one = slot();
  expect(at(0, [one], [])).toEqual(NONE);
  expect(at(SETTLED_MS - 1, [one], [])).toEqual(NONE);
  expect(at(SETTLED_MS, [one], [container(one, 'pending')])).toEqual(NONE);
  expect(at(SETTLED_MS * 2, [one], [container(one, 'ended')])).toEqual(NONE);
  expect(at(SETTLED_MS * 2.5, [], [container(one, 'ended')])).toEqual(NONE);
});

test('a slot whose container never comes, or has ended long ago, is drift until it is given back', () => {
  const { at } = make();
  const [never, gone] = [slot(), slot()];
  at(0, [never, gone], [container(gone, 'ended')]);
  expect(at(SETTLED_MS, [never, gone], [container(gone, 'ended')])).toEqual({
    slotsWithoutContainer: 2,
    containersWithoutSlot: 0,
  });
  expect(at(SETTLED_MS + 1, [never], [])).toEqual({ ...NONE, slotsWithoutContainer: 1 });
  expect(at(SETTLED_MS + 2, [], [])).toEqual(NONE);
});

test('one container too many does not hide one too few', () => {
  const { at } = make();
  const [lost, leaked] = [slot(), slot()];
  at(0, [lost], [container(leaked)]);
  expect(at(SETTLED_MS, [lost], [container(leaked)])).toEqual({
    slotsWithoutContainer: 1,
    containersWithoutSlot: 1,
  });
});

test('every new difference has its time to settle', () => {
  const { at } = make();
  const first = slot();
  at(0, [first], []);
  at(SETTLED_MS - 1, [first], [container(first)]);
  expect(at(SETTLED_MS, [first], [])).toEqual(NONE);
  const second = { ...first, attempt: 2 };
  expect(at(SETTLED_MS * 2 - 1, [second], [])).toEqual(NONE);
});
