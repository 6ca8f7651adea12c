import type pg from 'pg';
import type { Client } from '../controller/client.ts';
import type { DockerRun } from './docker-run.ts';
import type { ContainerTimes, EngineTimeline } from './engine-timeline.ts';
import { phasesOf, readRunTimes, type PhaseTimes } from './phases.ts';
import type { Progress } from './progress.ts';
import { readRunnerStart, type RunnerStart } from './runner-start.ts';
import { takeTurns, type Turn } from './turns.ts';
import { LONE_TENANT, ONE_STEP } from './workload.ts';

const WARM_UPS = 3;
const REPETITIONS = 30;

/** One run through the platform, from `submit` until a waiting client knows its terminal status. */
export interface LoneRun {
  readonly ms: number;
  readonly phases: PhaseTimes;
  readonly runnerStart: RunnerStart;
}

/** One `docker run --rm`, and when the engine did what for it, in milliseconds since its start. */
export interface BareRun {
  readonly ms: number;
  readonly container: Required<Pick<ContainerTimes, 'created' | 'started' | 'died'>>;
}

/** A run and the `docker run` right after it. */
export type Pair = Turn<LoneRun, BareRun>;

export interface LoneRunsContext {
  readonly client: Client;
  readonly pool: pg.Pool;
  readonly timeline: EngineTimeline;
  readonly dockerRun: DockerRun;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/** Measures runs and `docker run` in turn. */
export async function measurePairs(context: LoneRunsContext): Promise<Pair[]> {
  const { progress } = context;
  progress.step(`one run at a time, in turn with docker run, after ${WARM_UPS} of each to warm up`);
  return await takeTurns({
    warmUps: WARM_UPS,
    repetitions: REPETITIONS,
    measureRun: () => measureRun(context),
    measureBare: () => measureBare(context),
    progress,
  });
}

async function measureRun({ client, pool, timeline, dockerRun, signal }: LoneRunsContext): Promise<LoneRun> {
  const submitted = Date.now();
  const from = performance.now();
  const { runId } = await client.submit({ tenantId: LONE_TENANT.id, definition: ONE_STEP, input: {} });
  const { containerId } = await client.waitFor(runId, signal);
  const ms = performance.now() - from;
  const times = await readRunTimes(pool, runId);
  const container = await timeline.whole((one) => one.containerId === containerId, signal);
  return {
    ms,
    phases: phasesOf(submitted, times, container, submitted + ms),
    runnerStart: await readRunnerStart(client, runId, await dockerRun.interpreterMs(signal)),
  };
}

async function measureBare({ dockerRun, timeline, signal }: LoneRunsContext): Promise<BareRun> {
  const began = Date.now();
  const { name, ms } = await dockerRun.once(signal);
  const { created, started, died } = await timeline.whole((one) => one.name === name, signal);
  return { ms, container: { created: created - began, started: started - began, died: died - began } };
}
