import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { jobSchema, type Job } from '../../../controller/backends/kubernetes/objects.ts';
import { Overstayed } from '../../../controller/backends/kubernetes/overstayed.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const job = (finished: boolean): Job =>
  jobSchema.parse({
    // Long ago by a clock that is not ours: it does not count.
    metadata: { name: 'j', uid: 'j', creationTimestamp: '2001-01-01T00:00:00Z' },
    spec: { activeDeadlineSeconds: 60 },
    status: { conditions: finished ? [{ type: 'Complete', status: 'True' }] : [] },
  });
const MINUTE_MS = 60_000;

test.each([
  ['a finished Job that its TTL forgot', true, 15],
  ['a Job that does not end', false, 11],
] as const)('%s has stayed too long after a while that we saw ourselves', (_what, finished, minutes) => {
  const overstayed = new Overstayed();
  expect(overstayed.among([job(finished)])).toEqual([]);
  vi.advanceTimersByTime((minutes - 1) * MINUTE_MS);
  expect(overstayed.among([job(finished)])).toEqual([]);
  vi.advanceTimersByTime(MINUTE_MS);
  expect(overstayed.among([job(finished)])).toHaveLength(1);
});

test('a Job that was gone in between begins anew', () => {
  const overstayed = new Overstayed();
  overstayed.among([job(true)]);
  vi.advanceTimersByTime(20 * MINUTE_MS);
  overstayed.among([]);
  expect(overstayed.among([job(true)])).toEqual([]);
});
