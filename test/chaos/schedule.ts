import type { Random } from './random.ts';

/** What can be done to a platform, by what it hits. */
export const FAULT_KINDS = [
  'run-container',
  'leader',
  'standby',
  'watchdog',
  'postgres-backend',
  'postmaster',
  'redis',
  'engine',
  'engine-and-containers',
  'leader-frozen',
  'redis-flushed',
  'connection-cut',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** The kinds that are not a SIGKILL. */
const NOT_KILLS: ReadonlySet<FaultKind> = new Set(['leader-frozen', 'redis-flushed', 'connection-cut']);

/** @returns whether the fault is a process killed with SIGKILL. */
export const isKill = (kind: FaultKind): boolean => !NOT_KILLS.has(kind);

/** How often each kind comes in a round. What takes the platform long to get over is rare, nothing is left out. */
const ROUND: Readonly<Record<FaultKind, number>> = {
  'run-container': 8,
  leader: 3,
  standby: 2,
  watchdog: 3,
  'postgres-backend': 2,
  postmaster: 1,
  redis: 1,
  engine: 1,
  'engine-and-containers': 1,
  'leader-frozen': 1,
  'redis-flushed': 1,
  'connection-cut': 2,
};

const SHORTEST_PAUSE_MS = 800;
const LONGEST_PAUSE_MS = 4_000;

/** One fault, and how long to wait before it. */
export interface PlannedFault {
  readonly kind: FaultKind;
  readonly pauseMs: number;
}

/** Endless rounds of faults: each has all kinds, in an order of its own. Pure: the seed decides. */
export function* schedule(random: Random): Generator<PlannedFault, never> {
  const round = FAULT_KINDS.flatMap((kind) => Array.from({ length: ROUND[kind] }, () => kind));
  for (;;) {
    for (const kind of random.shuffled(round)) {
      yield { kind, pauseMs: random.between(SHORTEST_PAUSE_MS, LONGEST_PAUSE_MS) };
    }
  }
}
