import fc from 'fast-check';
import { expect, test } from 'vitest';
import { WaitingLines, type Try } from '../../../controller/intake/waiting-lines.ts';
import { newRunId, tenantIdSchema, type TenantId } from '../../../controller/model/ids.ts';
import type { RunChanges, RunListeners } from '../../../controller/store/notifications.ts';

/** Queues with places, which tell when one becomes free, as PostgreSQL does. */
class Places implements RunChanges {
  readonly #listeners = new Set<RunListeners>();
  readonly #free = new Map<TenantId, number>();
  trying = new Set<TenantId>();
  tries = 0;

  listen = (listeners: RunListeners): (() => void) => {
    this.#listeners.add(listeners);
    return () => this.#listeners.delete(listeners);
  };

  get listening(): number {
    return this.#listeners.size;
  }

  release(tenantId: TenantId): void {
    this.#free.set(tenantId, (this.#free.get(tenantId) ?? 0) + 1);
    const change = {
      runId: newRunId(),
      tenantId,
      attempt: 1,
      status: 'STARTING',
      cancelRequested: false,
    } as const;
    for (const { runs } of this.#listeners) runs?.(change);
  }

  async take(tenantId: TenantId): Promise<Try<void>> {
    expect(this.trying.has(tenantId)).toBe(false);
    this.trying.add(tenantId);
    this.tries += 1;
    const free = this.#free.get(tenantId) ?? 0;
    await new Promise((resolve) => setImmediate(resolve));
    this.trying.delete(tenantId);
    // Looked at before the pause, as a count in a transaction is: a place that became free since is told of.
    if (free === 0) return { kind: 'full', retryAfterMs: 60_000 };
    this.#free.set(tenantId, (this.#free.get(tenantId) ?? 0) - 1);
    return { kind: 'done', value: undefined };
  }
}

const tenants = ['a', 'b', 'c'].map((id) => tenantIdSchema.parse(id));

test('whoever waits gets a place in the order of coming, one try of a tenant at a time, and no place is left unused', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ tenant: fc.constantFrom(...tenants), leaves: fc.boolean() }), { maxLength: 12 }),
      fc.infiniteStream(fc.nat(2)),
      async (arrivals, pauses) => {
        const places = new Places();
        const lines = new WaitingLines(places);
        const served: string[] = [];
        const waits = arrivals.map(({ tenant, leaves }, n) => {
          const stop = new AbortController();
          const outcome = lines
            .wait(tenant, () => places.take(tenant), stop.signal)
            .then(
              () => served.push(`${tenant} ${n}`),
              (error: unknown) => expect(error).toBe(stop.signal.reason),
            );
          if (leaves) stop.abort(new Error('left'));
          return outcome;
        });
        const stay = arrivals
          .map(({ tenant, leaves }, n) => ({ tenant, leaves, n }))
          .filter(({ leaves }) => !leaves);
        for (const { tenant } of stay) {
          for (let turns = Number(pauses.next().value); turns > 0; turns -= 1)
            await new Promise(setImmediate);
          places.release(tenant);
        }
        await Promise.all(waits);
        for (const tenant of tenants) {
          const expected = stay.filter((one) => one.tenant === tenant).map(({ n }) => `${tenant} ${n}`);
          expect(served.filter((one) => one.startsWith(`${tenant} `))).toEqual(expected);
          expect(lines.lengthOf(tenant)).toBe(0);
        }
        await expect.poll(() => places.listening).toBe(0);
      },
    ),
    { numRuns: 30 },
  );
});

test('a line that nothing changes for tries no more often than it is told to', async () => {
  const places = new Places();
  const lines = new WaitingLines(places);
  const [tenant] = tenants;
  const stop = new AbortController();
  const waiting = expect(lines.wait(tenant!, () => places.take(tenant!), stop.signal)).rejects.toThrow(
    'enough',
  );
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(places.tries).toBe(1);
  stop.abort(new Error('enough'));
  await waiting;
});
