import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Demand, TenantDemand } from '../../../controller/dispatch/demand.ts';
import { PASSED_OVER_AT_MOST, Scheduler } from '../../../controller/dispatch/scheduler.ts';
import { tenantIdSchema, type TenantId } from '../../../controller/model/ids.ts';
import { PRIORITIES, type Priority, type StartRate } from '../../../controller/model/tenant.ts';
import { DispatchWorld, type WorldTenant } from './dispatch-world.ts';

const id = (name: string): TenantId => tenantIdSchema.parse(name);
const tenant = (name: string, more: Partial<WorldTenant> = {}): WorldTenant => ({
  tenantId: id(name),
  maxConcurrent: 1_000,
  weight: 1,
  priority: 'normal',
  startRate: undefined,
  paused: false,
  ...more,
});
const world = (maxConcurrent: number, tenants: readonly WorldTenant[], startRate?: StartRate) =>
  new DispatchWorld({ maxConcurrent, startRate }, tenants);

const anyRate = fc.option(
  fc.record({ max: fc.integer({ min: 1, max: 4 }), durationMs: fc.integer({ min: 1, max: 100 }) }),
  { nil: undefined },
);
const settings = {
  maxConcurrent: fc.integer({ min: 1, max: 5 }),
  weight: fc.integer({ min: 1, max: 4 }),
  priority: fc.constantFrom(...PRIORITIES),
  paused: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
};
const anyTenants = fc
  .array(fc.record({ ...settings, startRate: anyRate }), { minLength: 1, maxLength: 6 })
  .map((all) => all.map((more, nth) => tenant(`t${nth}`, more)));
const anyPlatform = fc.record({ maxConcurrent: fc.integer({ min: 1, max: 12 }), startRate: anyRate });
const nth = fc.nat({ max: 50 });
const anyEvent = fc.oneof(
  fc.record({ kind: fc.constant('arrive' as const), nth, runs: fc.integer({ min: 1, max: 6 }) }),
  fc.record({ kind: fc.constant('postpone' as const), nth, ms: fc.integer({ min: 1, max: 150 }) }),
  fc.record({ kind: fc.constant('end' as const), nth }),
  fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 60 }) }),
  fc.record({ kind: fc.constant('set' as const), nth, more: fc.record(settings) }),
  fc.record({ kind: fc.constant('cap' as const), maxConcurrent: fc.integer({ min: 1, max: 12 }) }),
);
type Event = typeof anyEvent extends fc.Arbitrary<infer T> ? T : never;

function happen(of: DispatchWorld, event: Event): void {
  switch (event.kind) {
    case 'arrive': {
      of.arrive(of.tenant(event.nth), event.runs);
      return;
    }
    case 'postpone': {
      of.postpone(of.tenant(event.nth), event.ms);
      return;
    }
    case 'end': {
      of.endOne(event.nth);
      return;
    }
    case 'pass': {
      of.pass(event.ms);
      return;
    }
    case 'set': {
      of.set(of.tenant(event.nth), event.more);
      return;
    }
    case 'cap': {
      of.setCap(event.maxConcurrent);
      return;
    }
  }
}

describe('the scheduler', () => {
  /** Caps, rates, pauses, work conservation, fairness, and the wait: every single pick is compared with what is allowed. */
  test('starts what may be started, all of it and nothing else, and the right one first', () => {
    fc.assert(
      fc.property(
        anyPlatform,
        anyTenants,
        fc.array(anyEvent, { maxLength: 60 }),
        (platform, tenants, events) => {
          const now = new DispatchWorld(platform, tenants);
          const passedOver = new Map<Priority, number>();
          for (const event of events) {
            happen(now, event);
            for (;;) {
              const allowed = now.startable();
              expect(now.scheduler.waitMs(now.nowMs)).toBe(now.waitMs());
              const served = now.pickOne();
              expect(served === undefined).toBe(allowed.length === 0);
              if (served === undefined) break;
              expect(allowed.map(({ tenantId }) => tenantId)).toContain(served.tenantId);
              // Max-min: nobody of its class who could have started had fewer slots per weight.
              const rivals = allowed.filter(({ priority }) => priority === served.priority);
              const least = Math.min(...rivals.map((rival) => rival.slots / rival.weight));
              expect(served.slots / served.weight).toBe(least);
              for (const priority of PRIORITIES) {
                const waits =
                  priority !== served.priority && allowed.some((rival) => rival.priority === priority);
                passedOver.set(priority, waits ? (passedOver.get(priority) ?? 0) + 1 : 0);
                expect(passedOver.get(priority)).toBeLessThanOrEqual(PASSED_OVER_AT_MOST);
              }
            }
          }
        },
      ),
      { numRuns: 400 },
    );
  });

  test('serves higher classes first, and of as many starts in a row as are promised one to each lower class', () => {
    const now = world(
      1,
      PRIORITIES.map((priority) => tenant(priority, { priority })),
    );
    for (let n = 0; n < 3; n += 1) now.arrive(now.tenant(n), 100);
    const order: string[] = [];
    for (let n = 0; n < 90; n += 1) {
      order.push(now.pickOne()?.tenantId ?? 'nobody');
      now.endOne(0);
    }
    for (let from = 0; from + PASSED_OVER_AT_MOST + 1 <= order.length; from += 1) {
      const starts = order.slice(from, from + PASSED_OVER_AT_MOST + 1);
      expect({ from, low: starts.includes('low'), normal: starts.includes('normal') }).toEqual({
        from,
        low: true,
        normal: true,
      });
    }
    expect(order.filter((name) => name === 'high')).toHaveLength(70);
  });

  test('gives a tenant with one run the next slot, however much another has queued', () => {
    const now = world(4, [tenant('backlog'), tenant('newcomer')]);
    now.arrive(now.tenant(0), 32);
    while (now.pickOne() !== undefined);
    now.arrive(now.tenant(1), 1);
    expect(now.pickOne()).toBeUndefined();
    now.endOne(0);
    expect(now.pickOne()?.tenantId).toBe('newcomer');
  });

  test('shares starts by weight over time when there are fewer slots than tenants', () => {
    const weights = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 2, maxLength: 6 });
    fc.assert(
      fc.property(weights, fc.constantFrom(1, 1_000), (all, maxConcurrent) => {
        const sum = all.reduce((left, right) => left + right, 0);
        // Nobody is entitled to more than one of the slots.
        const slots = Math.max(1, Math.min(all.length - 1, Math.floor(sum / Math.max(...all))));
        const now = world(
          slots,
          all.map((weight, at) => tenant(`t${at}`, { weight, maxConcurrent })),
        );
        const rounds = sum * 40;
        const served = new Map<string, number>();
        for (let n = 0; n < rounds; n += 1) {
          for (let at = 0; at < all.length; at += 1) now.fill(now.tenant(at), 2);
          for (let next = now.pickOne(); next !== undefined; next = now.pickOne()) {
            served.set(next.tenantId, (served.get(next.tenantId) ?? 0) + 1);
          }
          // All runs take as long.
          now.endOne(0);
        }
        for (const [at, weight] of all.entries()) {
          const share = (served.get(`t${at}`) ?? 0) / rounds;
          expect(Math.abs(share - weight / sum)).toBeLessThan(0.05);
        }
      }),
      { numRuns: 60, examples: [[[1, 2, 2, 5], 1]] },
    );
  });

  test.each([
    [
      'paused',
      (now: DispatchWorld, who: TenantId) => now.set(who, { paused: true }),
      (now: DispatchWorld, who: TenantId) => now.set(who, { paused: false }),
    ],
    [
      'without work',
      (now: DispatchWorld, who: TenantId) => now.drop(who),
      (now: DispatchWorld, who: TenantId) => now.fill(who, 32),
    ],
  ])('lets nobody make up for the time that it was %s', (_, leave, comeBack) => {
    const names = ['a', 'b', 'absent-a', 'absent-b'];
    const now = world(
      2,
      names.map((name) => tenant(name)),
    );
    const round = (): string | undefined => {
      now.endOne(0);
      const served = now.pickOne();
      for (const name of ['a', 'b']) now.fill(id(name), 5);
      return served?.tenantId;
    };
    for (const name of names) now.fill(id(name), 5);
    for (const name of ['absent-a', 'absent-b']) leave(now, id(name));
    for (let n = 0; n < 500; n += 1) round();
    for (const name of ['absent-a', 'absent-b']) comeBack(now, id(name));
    const order: (string | undefined)[] = [];
    for (let n = 0; n < 16; n += 1) {
      for (const name of ['absent-a', 'absent-b']) now.fill(id(name), 5);
      order.push(round());
    }
    for (const name of names) {
      expect({ name, starts: order.filter((served) => served === name).length }).toEqual({ name, starts: 4 });
    }
  });

  test('holds start rates that a leader before used up, also of tenants without work at that moment', () => {
    const startRate = { max: 2, durationMs: 1_000 };
    const scheduler = new Scheduler();
    const limited = { ...tenant('limited', { startRate }), slots: 0, starting: 0, due: 5, dueInMs: null };
    const demand = { maxConcurrent: 10, startRate: undefined, slots: 0, starting: 0 };
    scheduler.learn({ ...demand, tenants: [] }, 0);
    scheduler.remember([-900, -200].map((atMs) => ({ tenantId: id('limited'), atMs })));
    scheduler.learn({ ...demand, tenants: [limited] }, 0, [id('limited')]);
    expect(scheduler.pick(0, 5)).toEqual([]);
    expect(scheduler.waitMs(0)).toBe(100);
    expect(scheduler.pick(100, 5)).toEqual([{ tenantId: 'limited', runs: 1 }]);
  });

  test('holds the platform’s start rate that a leader before used up', () => {
    const now = world(10, [tenant('any')], { max: 1, durationMs: 500 });
    now.scheduler.remember([{ tenantId: id('any'), atMs: now.nowMs - 100 }]);
    now.fill(id('any'), 5);
    expect(now.scheduler.waitMs(now.nowMs)).toBe(400);
  });

  test('forgets a tenant of whom PostgreSQL says that it has no work', () => {
    const now = world(10, [tenant('gone'), tenant('here')]);
    now.fill(id('gone'), 1);
    now.fill(id('here'), 1);
    const nothing: Demand = { maxConcurrent: 10, startRate: undefined, slots: 0, starting: 0, tenants: [] };
    now.scheduler.learn(nothing, now.nowMs, [id('gone')]);
    expect(now.scheduler.pick(now.nowMs, 5)).toEqual([{ tenantId: 'here', runs: 1 }]);
    now.scheduler.learn(nothing, now.nowMs);
    expect(now.scheduler.waitMs(now.nowMs)).toBe(Infinity);
  });
});

describe('back-pressure of the scheduler', () => {
  const demandOf = (tenants: readonly Partial<TenantDemand>[]): Demand => {
    const all = tenants.map((more, at): TenantDemand => ({
      ...tenant(`t${at}`),
      slots: 0,
      starting: 0,
      due: 32,
      dueInMs: null,
      ...more,
    }));
    const sum = (of: (one: TenantDemand) => number) => all.reduce((total, one) => total + of(one), 0);
    return {
      ...{ maxConcurrent: 1_000, startRate: undefined, tenants: all },
      ...{ slots: sum(({ slots }) => slots), starting: sum(({ starting }) => starting) },
    };
  };
  const refusals = fc.array(
    fc.record({
      afterMs: fc.integer({ min: 0, max: 2_000 }),
      reason: fc.constantFrom('QUOTA_EXCEEDED', 'ADMISSION_DENIED', 'UNSCHEDULABLE', 'CLAIM_TIMEOUT'),
    }),
    { minLength: 1, maxLength: 30 },
  );

  test('that one tenant causes never delays another', () => {
    fc.assert(
      fc.property(refusals, (all) => {
        const scheduler = new Scheduler();
        let now = 0;
        for (const { afterMs, reason } of all) {
          now += afterMs;
          const starting = scheduler.pressure(now).tenants[0]?.window ?? 8;
          scheduler.learn(demandOf([{ slots: starting, starting }, { due: 1 }]), now);
          const causedBy = scheduler.refused({ tenantId: id('t0'), reason, admittedAtMs: now }, now);
          expect(causedBy).toBe('tenant');
          expect(scheduler.waitMs(now)).toBe(0);
          expect(scheduler.pick(now, 32)).toEqual([{ tenantId: 't1', runs: 1 }]);
        }
      }),
    );
  });

  test('opens again, fully and in bounded time, when the far side refuses no more', () => {
    fc.assert(
      fc.property(refusals, fc.constantFrom('tenant', 'platform'), (all, whom) => {
        const scheduler = new Scheduler();
        const maxConcurrent = 40;
        const learn = (starting: number): void =>
          scheduler.learn(
            { ...demandOf([{ maxConcurrent, slots: starting, starting }]), maxConcurrent },
            now,
          );
        let now = 0;
        learn(0);
        for (const { afterMs, reason } of all) {
          now += afterMs;
          const refused = whom === 'tenant' ? reason : 'NODE_LOST';
          expect(scheduler.refused({ tenantId: id('t0'), reason: refused, admittedAtMs: now }, now)).toBe(
            whom,
          );
        }
        const stoppedAtMs = now;
        while (scheduler.isPressed(id('t0'))) {
          learn(0);
          now += scheduler.waitMs(now);
          const admittedAtMs = now;
          const runs = scheduler.pick(now, maxConcurrent)[0]?.runs ?? 0;
          expect(runs).toBeGreaterThan(0);
          now += 1_000;
          for (let n = 0; n < runs; n += 1) scheduler.claimed(id('t0'), admittedAtMs);
        }
        expect(now - stoppedAtMs).toBeLessThanOrEqual(30_000 + 8 * 1_000);
        learn(0);
        expect(scheduler.pick(now, maxConcurrent)).toEqual([{ tenantId: 't0', runs: 32 }]);
      }),
    );
  });

  test('by the workflow’s own failures there is none', () => {
    const scheduler = new Scheduler();
    scheduler.learn(demandOf([{}]), 0);
    for (const reason of ['STEP_FAILED', 'OOM_KILLED', 'RUNNER_CRASHED'] as const) {
      expect(scheduler.refused({ tenantId: id('t0'), reason, admittedAtMs: 0 }, 0)).toBeUndefined();
    }
    expect(scheduler.isPressed(id('t0'))).toBe(false);
  });
});
