import type { TenantId, RunId, WorkflowVersionId } from '../../controller/model/ids.ts';
import { PRIORITIES, type StartRate } from '../../controller/model/tenant.ts';
import type { AttemptPolicy } from '../../controller/model/verdict.ts';
import type { PlatformLimits } from '../../controller/store/tenants.ts';
import type { Random } from '../chaos/random.ts';
import type { ModelNewRun, ModelTenant } from './model-store.ts';

/** How likely each thing that goes wrong is, whenever it can. */
export interface Faults {
  /** A question to the record, or its answer, is lost. */
  readonly storeLoss: number;
  /** The same of the engine. */
  readonly engineLoss: number;
  /** News of a run comes up to 2 s late; an observation up to 8 s. */
  readonly late: number;
  /** News and observations come once more, later. */
  readonly twice: number;
  /** A start is refused, for any reason. */
  readonly refused: number;
  /** A start leaves a container that was made and not started, and no answer. */
  readonly halfMade: number;
  /** A container does something else than its work. */
  readonly misconduct: number;
}

export const NO_FAULTS: Faults = {
  ...{ storeLoss: 0, engineLoss: 0, late: 0, twice: 0, refused: 0, halfMade: 0, misconduct: 0 },
};

/** Something that happens to the whole at one moment. */
export type Incident = { readonly atMs: number } & (
  | { readonly kind: 'kill' | 'abandon'; readonly takeOverMs: number }
  /** Frozen for longer than its lead lasts: it comes back beside the next one, and goes on for a while. */
  | {
      readonly kind: 'freeze';
      readonly forMs: number;
      readonly takeOverMs: number;
      readonly besideMs: number;
    }
  | { readonly kind: 'stall' | 'database-down' | 'changes-lost' | 'observer-lost'; readonly forMs: number }
  /** While it is away, or when it comes back, this share of its containers ends, some without a trace. */
  | { readonly kind: 'engine-down'; readonly forMs: number; readonly deaths: number }
  | { readonly kind: 'tenant'; readonly tenant: ModelTenant }
  | { readonly kind: 'platform'; readonly limits: PlatformLimits }
);

export interface Submission {
  readonly atMs: number;
  readonly run: ModelNewRun;
  /** After how long its cancellation is asked for; undefined: never. */
  readonly cancelInMs: number | undefined;
}

/** All that a seed decides beforehand. */
export interface Scenario {
  readonly claimProof: 'token' | 'pod';
  readonly policy: AttemptPolicy;
  readonly claimTimeoutMs: number;
  /** How long a well-behaved container works, in ms. */
  readonly workMs: readonly [number, number];
  readonly platform: PlatformLimits;
  readonly tenants: readonly ModelTenant[];
  readonly submissions: readonly Submission[];
  readonly faults: Faults;
  /** From then on nothing goes wrong any more; 0: nothing ever does. */
  readonly faultsUntilMs: number;
  readonly incidents: readonly Incident[];
}

const LIMITS = { cpus: 1, memoryMb: 128, pids: 32, tmpMb: 16 };
const VERSION = '00000000-0000-7000-8000-000000000000' as WorkflowVersionId;
const runIdOf = (nth: number): RunId => `00000000-0000-7000-8000-${String(nth).padStart(12, '0')}` as RunId;

/** @returns a scenario that depends on nothing but the random numbers. One in five is without any fault. */
export function draw(random: Random): Scenario {
  const isCalm = random.chance(0.2);
  const faultsUntilMs = isCalm ? 0 : random.between(2_000, 40_000);
  const tenants = Array.from({ length: random.between(1, 6) }, (_, nth) => drawTenant(random, nth, isCalm));
  const spanMs = Math.max(faultsUntilMs, random.between(1, 20_000));
  const platform = drawPlatform(random, isCalm);
  return {
    claimProof: random.chance(0.5) ? 'token' : 'pod',
    policy: { attempts: random.between(1, 4), initialDelayMs: 100, maxDelayMs: random.between(100, 5_000) },
    claimTimeoutMs: random.between(1_000, 10_000),
    workMs: random.chance(0.5) ? [1, 200] : [10, random.between(10, 5_000)],
    platform,
    tenants,
    submissions: drawSubmissions(random, { tenants, spanMs, isCalm }),
    faults: isCalm ? NO_FAULTS : drawFaults(random),
    faultsUntilMs,
    incidents: isCalm ? [] : drawIncidents(random, { tenants, platform, untilMs: faultsUntilMs }),
  };
}

const drawRate = (random: Random, chance: number): StartRate | undefined =>
  random.chance(chance)
    ? { max: random.between(1, 5), durationMs: random.between(1_000, 10_000) }
    : undefined;

/** Where nothing goes wrong slots are all that anybody waits for, so that it can be told who waited too long. */
const drawTenant = (random: Random, nth: number, isCalm: boolean): ModelTenant => ({
  tenantId: `tenant-${nth}` as TenantId,
  maxConcurrent: random.between(1, 6),
  weight: random.chance(0.5) ? 1 : random.between(1, 4),
  priority: random.chance(0.5) ? 'normal' : random.pick(PRIORITIES)!,
  startRate: drawRate(random, isCalm ? 0 : 0.25),
  paused: !isCalm && random.chance(0.1),
});

const drawPlatform = (random: Random, isCalm: boolean): PlatformLimits => ({
  maxConcurrent: random.between(1, 10),
  startRate: drawRate(random, isCalm ? 0 : 0.15),
});

function drawSubmissions(
  random: Random,
  of: { readonly tenants: readonly ModelTenant[]; readonly spanMs: number; readonly isCalm: boolean },
): Submission[] {
  const cancels = random.chance(0.5) ? 0.2 : 0;
  const bursts = random.chance(0.5);
  const count = random.between(1, of.isCalm ? 80 : 25);
  const moments = Array.from({ length: count }, () =>
    bursts && random.chance(0.7) ? 0 : random.between(0, of.spanMs),
  ).sort((one, other) => one - other);
  return moments.map((atMs, nth) => ({
    atMs,
    run: {
      id: runIdOf(nth + 1),
      tenantId: random.pick(of.tenants)!.tenantId,
      workflowVersionId: VERSION,
      limits: LIMITS,
      timeoutMs: of.isCalm ? 600_000 : random.between(2_000, 30_000),
      retryAfterClaim: random.chance(0.3),
    },
    cancelInMs: random.chance(cancels) ? random.between(0, 10_000) : undefined,
  }));
}

function drawFaults(random: Random): Faults {
  const sometimes = (atMost: number): number => (random.chance(0.5) ? random.next() * atMost : 0);
  return {
    storeLoss: sometimes(0.15),
    engineLoss: sometimes(0.2),
    late: sometimes(0.3),
    twice: sometimes(0.3),
    refused: sometimes(0.5),
    halfMade: sometimes(0.1),
    misconduct: sometimes(0.7),
  };
}

function drawIncidents(
  random: Random,
  of: {
    readonly tenants: readonly ModelTenant[];
    readonly platform: PlatformLimits;
    readonly untilMs: number;
  },
): Incident[] {
  const incidents = Array.from({ length: random.between(0, 12) }, (): Incident => {
    const atMs = random.between(0, of.untilMs);
    const takeOverMs = random.between(500, 6_000);
    const forMs = random.between(50, 8_000);
    const kinds = [
      ...(['kill', 'kill', 'abandon', 'freeze', 'stall', 'database-down', 'changes-lost'] as const),
      ...(['observer-lost', 'engine-down', 'tenant', 'tenant', 'platform'] as const),
    ];
    const kind = random.pick(kinds)!;
    switch (kind) {
      case 'kill':
      case 'abandon':
        return { atMs, kind, takeOverMs };
      case 'freeze':
        return { atMs, kind, forMs, takeOverMs, besideMs: random.between(1, 3_000) };
      case 'engine-down':
        return { atMs, kind, forMs, deaths: random.pick([0, 0.5, 1])! };
      case 'tenant':
        return {
          atMs,
          kind,
          tenant: drawTenant(random, random.between(0, of.tenants.length - 1), false),
        };
      case 'platform':
        return { atMs, kind, limits: drawPlatform(random, false) };
      default:
        return { atMs, kind, forMs };
    }
  });
  return incidents.sort((one, other) => one.atMs - other.atMs);
}
