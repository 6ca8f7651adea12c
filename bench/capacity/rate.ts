import type { TenantId } from '../../controller/model/ids.ts';
import type { BenchContext } from '../benchmark.ts';
import { declareTenants, queueRuns } from './backlog.ts';
import type { Place, QueueKind, Servers } from './servers.ts';

const MANY = 1000;
const CAP = 50;
const ROUNDS = 3;
const MS_PER_S = 1000;
const SHORT = 1000;
const LONG = 100_000;
/** Of the first starts of a round, these are timed: the very first come out of a full house. */
const COUNTED = { from: 100, to: 900 };
const LOOKED_AT = 950;

/** Starts a second in one round. */
export interface Round {
  readonly tenants: number;
  readonly queued: number;
  readonly perSecond: number;
  /** What the backend itself took for a run, in milliseconds. */
  readonly backendMs: number;
  /** The processor time that the controller's process took for one, in milliseconds. */
  readonly cpuMs: number;
  /** From the controller's start until it led and all slots were taken. */
  readonly recoveryMs: number;
}

/**
 * Measures how fast runs are started off a short and a long queue, in turn, of many tenants and of one; every round on a
 * database of its own.
 */
export async function measureRate(
  servers: Servers,
  { progress }: BenchContext,
  queue: QueueKind,
): Promise<Round[]> {
  const { database: template, many, lone } = await makeTemplate(servers);
  const rounds: Round[] = [];
  for (let round = 1; round <= ROUNDS; round += 1) {
    for (const tenants of [many, lone]) {
      for (const queued of [SHORT, LONG]) {
        progress.step(
          `round ${round} of ${ROUNDS}: ${queued} runs of ${tenants.length} tenants queued (${queue})`,
        );
        await using place = await servers.place(queue, template);
        await queueRuns(place.pool, tenants, queued / tenants.length);
        const found = { tenants: tenants.length, queued, ...(await drain(servers, place)) };
        const { perSecond, cpuMs } = found;
        progress.step(
          `  ${perSecond.toFixed(0)} starts a second, ${cpuMs.toFixed(1)} ms of processor time each`,
        );
        rounds.push(found);
      }
    }
  }
  return rounds;
}

interface Template {
  readonly database: string;
  readonly many: readonly TenantId[];
  readonly lone: readonly TenantId[];
}

async function makeTemplate(servers: Servers): Promise<Template> {
  await using place = await servers.place('embedded');
  return {
    database: place.database,
    many: await declareTenants(place.pool, MANY),
    lone: await declareTenants(place.pool, 1, { prefix: 'lone', maxConcurrent: CAP }),
  };
}

/** All slots are taken when it begins, and then every run ends as soon as it was started. */
async function drain(servers: Servers, place: Place): Promise<Omit<Round, 'queued' | 'tenants'>> {
  const from = performance.now();
  await using leader = await servers.lead(place, { maxConcurrent: CAP, gate: { kind: 'closed' } });
  const before = await leader.starts(CAP);
  const recoveryMs = performance.now() - from;
  leader.setGate({ kind: 'open', lifeMs: 0 });
  const { starts, backendMs, cpuMs } = await leader.starts(LOOKED_AT);
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
