import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import type { RunId } from '../../controller/model/ids.ts';
import type { BenchContext } from '../benchmark.ts';
import { inTurn } from '../in-turn.ts';
import { declareTenants, versionOf } from './backlog.ts';
import type { LeaderProcess } from './leader-process.ts';
import type { Start } from './messages.ts';
import { monotonicMs } from './monotonic.ts';
import { clientProducer, queueProducer, type Producer, type Work } from './producers.ts';
import type { QueueKind, Servers } from './servers.ts';

const WARM_UPS = 30;
const LONE_RUNS = 300;
const PACED_RUNS = 400;
/** Runs a second, at random times. */
const PACE = 20;
const MS_PER_S = 1000;
const CAP = 50;
/** Shorter than the time between two runs, so that capacity is free. */
const LIFE_MS = 20;
/** Between a run's start and the submission of the next, at random: nothing may keep step with it. */
const PAUSE_MS = 30;
const TIMER_MS = 10;
const NS_PER_MS = 1e6;

/** From the call of `submit` to that of `backend.start`, in milliseconds, of each run. */
export interface Dispatch {
  readonly queue: QueueKind;
  readonly producer: 'client' | 'bullmq';
  /** Each submitted after the one before had been started. */
  readonly lone: readonly number[];
  /** Submitted at random times, now and then several at once. */
  readonly paced: readonly number[];
  /** By how much timers of the producer's process rang late at p95 meanwhile, in milliseconds: how busy the machine was. */
  readonly lateMs: number;
}

/** Measures how soon runs start while capacity is free. The producer is in another process than the controller. */
export async function measureDispatch(
  servers: Servers,
  { progress, interrupt: { stop: signal } }: BenchContext,
  queue: QueueKind,
): Promise<Dispatch[]> {
  await using place = await servers.place(queue);
  const tenantId = inTurn(await declareTenants(place.pool, 1, { maxConcurrent: CAP }), 0);
  const work = { tenantId, workflowVersionId: await versionOf(place.pool, tenantId) };
  await using leader = await servers.lead(place, {
    maxConcurrent: CAP,
    gate: { kind: 'open', lifeMs: LIFE_MS },
  });
  const found: Dispatch[] = [];
  for (const [name, open] of [
    ['client', clientProducer],
    ['bullmq', queueProducer],
  ] as const) {
    progress.step(`from submit to start, queue ${queue}, submitted by ${name}`);
    await using producer = await open(place);
    const parts = { producer, leader, work, signal };
    await oneByOne(parts, WARM_UPS);
    const timers = monitorEventLoopDelay({ resolution: TIMER_MS });
    timers.enable();
    const lone = await oneByOne(parts, LONE_RUNS);
    const paced = await atPace(parts);
    const lateMs = Math.max(0, timers.percentile(95) / NS_PER_MS - TIMER_MS);
    timers.disable();
    found.push({ queue, producer: name, lone, paced, lateMs });
  }
  return found;
}

interface Parts {
  readonly producer: Producer;
  readonly leader: LeaderProcess;
  readonly work: Work;
  readonly signal: AbortSignal;
}

async function oneByOne({ producer, leader, work, signal }: Parts, runs: number): Promise<number[]> {
  const took: number[] = [];
  while (took.length < runs) {
    await delay(LIFE_MS + Math.random() * PAUSE_MS, undefined, { signal });
    const started = leader.starts(1);
    const from = monotonicMs();
    const runId = await producer.submit(work);
    const { starts } = await started;
    took.push(startOf(runId, starts) - from);
  }
  return took;
}

async function atPace({ producer, leader, work, signal }: Parts): Promise<number[]> {
  const started = leader.starts(PACED_RUNS);
  const submitted: Promise<{ readonly runId: RunId; readonly from: number }>[] = [];
  while (submitted.length < PACED_RUNS) {
    // The pauses of a Poisson process.
    await delay((-Math.log(1 - Math.random()) * MS_PER_S) / PACE, undefined, { signal });
    const from = monotonicMs();
    submitted.push(producer.submit(work).then((runId) => ({ runId, from })));
  }
  const all = await Promise.all(submitted);
  const { starts } = await started;
  return all.map(({ runId, from }) => startOf(runId, starts) - from);
}

function startOf(runId: RunId, starts: readonly Start[]): number {
  const start = starts.find((one) => one.runId === runId);
  if (start === undefined) throw new Error(`another run than ${runId} was started`);
  return start.at;
}
