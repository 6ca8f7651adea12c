import fc from 'fast-check';
import { expect, test } from 'vitest';
import { InFlight } from '../../../controller/backends/kubernetes/in-flight.ts';

test('no more than the limit is going on at a time, in order, whatever fails', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.boolean(), { maxLength: 30 }),
      fc.scheduler(),
      async (limit, failing, scheduler) => {
        const inFlight = new InFlight(limit);
        const begun: number[] = [];
        let now = 0;
        let most = 0;
        const all = Promise.allSettled(
          failing.map((fails, index) =>
            inFlight.run(async () => {
              begun.push(index);
              now += 1;
              most = Math.max(most, now);
              await scheduler.schedule(Promise.resolve());
              now -= 1;
              if (fails) throw new Error('failed');
              return index;
            }),
          ),
        );
        await scheduler.waitFor(all);
        const results = await all;
        expect(results.map(({ status }) => status === 'rejected')).toEqual(failing);
        expect(begun).toEqual(failing.map((_, index) => index));
        expect(most).toBe(Math.min(limit, failing.length));
      },
    ),
  );
});
