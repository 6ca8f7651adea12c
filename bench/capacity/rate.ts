import type { TenantId } from '../../controller/model/ids.ts';
import type { BenchContext } from '../benchmark.ts';
import { declareTenants, queueRuns } from './backlog.ts';
import type { Place, QueueKind, Servers } from './servers.ts';

const TENANTS = 1000;
const SHORT_EACH = 1;
const CAP = 50;
const ROUNDS = 3;
const MS_PER_S = 1000;
/** Of a round's first 1,000 starts these count: the first come out of a full house, and the last of the short queue have none behind them. */
const COUNTED = { from: 100, to: 900 };
const LOOKED_AT = TENANTS;

/** Starts a second in one round. */
export interface Round {
  readonly queued: number;
  readonly perSecond: number;
  /** What the backend itself took for a run, in milliseconds. */
  readonly backendMs: number;
  /** The processor time that the controller's process took for one, in milliseconds. */
  readonly cpuMs: number;
  /** From the controller's start until it led and all slots were taken. */
  readonly recoveryMs: number;
}

/** Measures how fast runs are started off a short and a long queue, in turn; every round on a database of its own. */
export async function measureRate(
  servers: Servers,
  { progress }: BenchContext,
  queue: QueueKind,
  longEach: number,
): Promise<Round[]> {
  const { database: template, tenants } = await makeTemplate(servers);
  const rounds: Round[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const each of [SHORT_EACH, longEach]) {
      const queued = TENANTS * each;
      progress.step(
        `round ${round + 1} of ${ROUNDS}: ${queued} runs of ${TENANTS} tenants queued (${queue})`,
      );
      await using place = await servers.place(queue, template);
      await queueRuns(place.pool, tenants, each);
      const found = { queued, ...(await drain(servers, place)) };
      progress.step(
        `  ${found.perSecond.toFixed(0)} starts a second, led after ${found.recoveryMs.toFixed(0)} ms`,
      );
      rounds.push(found);
    }
  }
  return rounds;
}

async function makeTemplate(
  servers: Servers,
): Promise<Pick<Place, 'database'> & { readonly tenants: readonly TenantId[] }> {
  await using place = await servers.place('embedded');
  return { database: place.database, tenants: await declareTenants(place.pool, TENANTS) };
}

/** All slots are taken when it begins, and then every run ends as soon as it was started. */
async function drain(servers: Servers, place: Place): Promise<Omit<Round, 'queued'>> {
  const from = performance.now();
  await using leader = await servers.lead(place, { maxConcurrent: CAP, gate: { kind: 'closed' } });
  const before = await leader.starts(CAP);
  const recoveryMs = performance.now() - from;
  leader.setGate({ kind: 'open', lifeMs: 0 });
  const { starts, backendMs, cpuMs } = await leader.starts(LOOKED_AT - CAP);
  const first = starts[COUNTED.from];
  const last = starts[COUNTED.to];
  if (first === undefined || last === undefined)
    throw new Error('fewer starts were told than were asked for');
  const seconds = (last.at - first.at) / MS_PER_S;
  return {
    perSecond: (COUNTED.to - COUNTED.from) / seconds,
    backendMs: (backendMs - before.backendMs) / starts.length,
    cpuMs: (cpuMs - before.cpuMs) / starts.length,
    recoveryMs,
  };
}
