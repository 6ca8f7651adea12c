import { readdir } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type Dockerode from 'dockerode';
import { instanceFilter } from '../controller/backends/docker/engine-watch.ts';
import type { Client } from '../controller/client.ts';
import type { RunDetail } from '../controller/store/runs.ts';
import { countCapViolations } from './caps.ts';
import type { EngineTimeline } from './engine-timeline.ts';
import type { Progress } from './progress.ts';
import { CROWD_TENANTS, GLOBAL_CAP, LONE_TENANT, ONE_STEP } from './workload.ts';

const RUNS = 200;
/** Runs that have not ended after this long are counted as not terminal. */
const PATIENCE_MS = 10 * 60_000;
/** A run's container and folder are removed after its end was recorded: within this long. */
const REMOVAL_MS = 10_000;
const REMOVAL_POLL_MS = 200;
/** Named `<run id>-<attempt>`, wherever the platform puts it. */
const RUN_FOLDER = /[0-9a-f-]{36}-\d+$/;

/** What became of many runs of many tenants at once. */
export interface Crowd {
  readonly capViolations: number;
  readonly notTerminal: number;
  /** Ended, but not in SUCCESS. */
  readonly notSuccessful: number;
  readonly runsPerSecond: number;
  /** Containers and run folders that were still there after all had ended, for people. */
  readonly leftovers: readonly string[];
}

export interface CrowdContext {
  readonly client: Client;
  readonly docker: Dockerode;
  readonly timeline: EngineTimeline;
  readonly instance: string;
  readonly runDir: string;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/** Submits runs of all tenants at once, and watches the engine while the platform works them off. */
export async function measureCrowd(context: CrowdContext): Promise<Crowd> {
  const { client, timeline, instance, progress, signal } = context;
  progress.step(`${RUNS} runs of ${CROWD_TENANTS.length} tenants at once, at most ${GLOBAL_CAP} alive`);
  const from = performance.now();
  const submitted = await Promise.all(
    Array.from({ length: RUNS }, async (_, index) => {
      const tenant = CROWD_TENANTS[index % CROWD_TENANTS.length];
      if (tenant === undefined) throw new Error('the crowd has no tenants');
      return await client.submit({ tenantId: tenant.id, definition: ONE_STEP, input: { index } });
    }),
  );
  const patience = AbortSignal.timeout(PATIENCE_MS);
  let done = 0;
  const ended = await Promise.all(
    submitted.map(async ({ runId }): Promise<RunDetail | undefined> => {
      try {
        const run = await client.waitFor(runId, AbortSignal.any([signal, patience]));
        done += 1;
        progress.count('ended', done, RUNS);
        return run;
      } catch (error) {
        if (error === patience.reason) return undefined;
        throw error;
      }
    }),
  );
  const seconds = (performance.now() - from) / 1000;
  const terminal = ended.filter((run) => run !== undefined);
  const leftovers = await waitForRemoval(context);
  return {
    capViolations: countCapViolations(timeline.of(instance), {
      global: GLOBAL_CAP,
      byTenant: new Map([LONE_TENANT, ...CROWD_TENANTS].map(({ id, maxConcurrent }) => [id, maxConcurrent])),
    }),
    notTerminal: RUNS - terminal.length,
    notSuccessful: terminal.filter(({ status }) => status !== 'SUCCESS').length,
    runsPerSecond: terminal.length / seconds,
    leftovers,
  };
}

/** @returns what is still there when nothing more is removed. */
async function waitForRemoval({ docker, instance, runDir, signal }: CrowdContext): Promise<string[]> {
  const giveUpAt = Date.now() + REMOVAL_MS;
  for (;;) {
    const containers = await docker.listContainers({
      all: true,
      filters: { label: instanceFilter(instance) },
    });
    const left = [
      ...containers.map(({ Id }) => `container ${Id}`),
      ...(await readdir(runDir, { recursive: true }))
        .filter((path) => RUN_FOLDER.test(path))
        .map((path) => `run folder ${path}`),
    ];
    if (left.length === 0 || Date.now() > giveUpAt) return left;
    await delay(REMOVAL_POLL_MS, undefined, { signal });
  }
}
