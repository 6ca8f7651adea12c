import { describe, expect, test } from 'vitest';
import { hunt, seedsFrom } from './hunt.ts';
import type { ModelStore } from './model-store.ts';
import type { Ports, Sabotage } from './simulation.ts';

/** A mistake is found within this many seeds, or the simulation cannot see it. */
const SEEDS = 2000;

interface Mutant extends Sabotage {
  readonly mistake: string;
  /** What must be said of it. */
  readonly noticed: RegExp;
}

const withStore = (mistaken: (ports: Ports) => Partial<Ports['store']>) => (ports: Ports) => ({
  ...ports,
  store: { ...ports.store, ...mistaken(ports) },
});

/** Does `work` while the record has no caps. */
function uncapped<T>(record: ModelStore, work: () => T): T {
  const { platform } = record;
  record.platform = { ...platform, maxConcurrent: 1000 };
  try {
    return work();
  } finally {
    record.platform = platform;
  }
}

const MUTANTS: readonly Mutant[] = [
  {
    mistake: 'admission counts no slots of others',
    noticed: /over the global cap/,
    record: (record) => {
      const admitRuns = record.admitRuns.bind(record);
      record.admitRuns = (...args) => uncapped(record, () => admitRuns(...args));
    },
  },
  {
    mistake: 'admission does not look whether a tenant is paused, nor at its cap',
    noticed: /over its cap|was paused/,
    record: (record) => {
      const admitRuns = record.admitRuns.bind(record);
      record.admitRuns = (...args) => {
        const tenants = [...record.tenants.values()];
        for (const tenant of tenants)
          record.tenants.set(tenant.tenantId, { ...tenant, maxConcurrent: 1000, paused: false });
        const admitted = admitRuns(...args);
        for (const tenant of tenants) record.tenants.set(tenant.tenantId, tenant);
        return admitted;
      };
    },
  },
  {
    mistake: 'the claim is no compare-and-set',
    noticed: /handed out twice/,
    record: (record) => {
      const claimRun = record.claimRun.bind(record);
      record.claimRun = (...args) => claimRun(...args) || true;
    },
  },
  {
    mistake: 'a payload that was handed out counts as waiting, in dispatch and in the record',
    noticed: /executed again/,
    record: (record) => {
      const requeueRun = record.requeueRun.bind(record);
      record.requeueRun = (ref, ...how) => {
        const run = record.runs.get(ref.runId);
        if (run?.status === 'RUNNING' && run.attempt === ref.attempt) run.status = 'STARTING';
        return requeueRun(ref, ...how);
      };
    },
    ports: withStore(({ store }) => ({
      findLive: async (runId) => {
        const live = await store.findLive(runId);
        return live && { ...live, claimed: false };
      },
    })),
  },
  {
    mistake: 'containers are started for attempts that nobody admitted',
    noticed: /never admitted/,
    ports: ({ store, backend }) => ({
      store,
      backend: { ...backend, start: (spec) => backend.start({ ...spec, attempt: spec.attempt + 1 }) },
    }),
  },
  {
    mistake: 'ends are not recorded',
    noticed: /never ended/,
    ports: withStore(() => ({ finishRun: () => Promise.resolve(true) })),
  },
  {
    mistake: 'a run is tried again without end',
    noticed: /attempts of the policy/,
    ports: withStore(({ store }) => ({
      finishRun: (ref, verdict, exit) =>
        verdict.reason === 'RETRIES_EXHAUSTED'
          ? store.requeueRun(ref, verdict, exit, 0)
          : store.finishRun(ref, verdict, exit),
    })),
  },
  {
    mistake: 'a new leader knows of no starts before it',
    noticed: /over its rate/,
    ports: withStore(() => ({ recentStarts: () => Promise.resolve([]) })),
  },
  {
    mistake: 'dispatch does not wait for what is not due',
    noticed: /spins/,
    ports: withStore(({ store }) => ({
      readDemand: async (tenants) => {
        const demand = await store.readDemand(tenants);
        return { ...demand, tenants: demand.tenants.map((tenant) => ({ ...tenant, dueInMs: 0 })) };
      },
    })),
  },
  {
    mistake: 'whoever comes first gets all',
    noticed: /has waited for/,
    ports: withStore(({ store }) => {
      const firstOnly = <T extends { readonly tenants: readonly { readonly due: number }[] }>(
        demand: T,
      ): T => {
        const first = demand.tenants.findIndex(({ due }) => due > 0);
        return { ...demand, tenants: demand.tenants.map((t, nth) => (nth > first ? { ...t, due: 0 } : t)) };
      };
      return {
        readDemand: async () => firstOnly(await store.readDemand()),
      };
    }),
  },
  {
    mistake: 'nothing is removed',
    noticed: /left over/,
    ports: ({ store, backend }) => ({ store, backend: { ...backend, remove: () => Promise.resolve() } }),
  },
  {
    mistake: 'what vanished is not looked up',
    noticed: /never ended/,
    ports: ({ store, backend }) => ({
      store,
      backend: { ...backend, find: (ref) => backend.find(ref).then((found) => found ?? NEVER) },
    }),
  },
];

const NEVER = new Promise<never>(() => undefined);

describe('a simulation notices when', () => {
  test.for(MUTANTS)('$mistake', async ({ noticed, ...sabotage }) => {
    const { violations } = await hunt(seedsFrom(0, SEEDS), { sabotage, enough: 1 });
    expect(violations.map(({ violation }) => violation)).toEqual([expect.stringMatching(noticed)]);
  });
});
