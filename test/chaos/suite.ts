import { appendFileSync } from 'node:fs';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { connectClient } from '../../controller/client.ts';
import { messageOf } from '../../controller/errors.ts';
import type { TenantId } from '../../controller/model/ids.ts';
import { isTerminal } from '../../controller/model/run-status.ts';
import { workflowDefinitionSchema } from '../../controller/model/workflow-definition.ts';
import { defaultPaths } from '../../controller/setup/paths.ts';
import { transaction } from '../../controller/store/database.ts';
import { putWorkflowVersion } from '../../controller/store/workflow-versions.ts';
import { audit, type Violation } from './audit.ts';
import { readLeftovers, readQueues, readRecord, type Facts } from './facts.ts';
import { Faults } from './faults.ts';
import { makeFolder, removeFolder } from './folder.ts';
import { Journal } from './journal.ts';
import { Load, versionName } from './load.ts';
import { Random } from './random.ts';
import { Sampler } from './sampler.ts';
import { isKill, schedule, type FaultKind } from './schedule.ts';
import { definitionOf, WORKFLOWS } from './workflows.ts';
import { CAPS, startWorld, type World } from './world.ts';

const READY_MS = 120_000;
/** Runs that are live or queued when the faults stop have this long to end. */
const SETTLE_MS = 180_000;
/** What has ended has this long to be removed. */
const REMOVE_MS = 30_000;
const POLL_MS = 500;
const PROGRESS_MS = 30_000;

/** How a suite is asked for. */
export interface ChaosOptions {
  readonly minutes: number;
  readonly seed: number;
  /** It goes on until there were as many, however long that takes. */
  readonly killsAtLeast: number;
  /** Told what happens, a line each. */
  readonly onStep: (step: string) => void;
  /** Gives up; everything is removed all the same. */
  readonly signal: AbortSignal;
}

/** What a suite did and found. */
export interface ChaosReport {
  readonly seed: number;
  readonly seconds: number;
  readonly faults: ReadonlyMap<FaultKind, number>;
  readonly kills: number;
  readonly facts: Facts;
  readonly journal: Journal;
  /** Runs that failed although nobody killed their last container: they lost what they talk to, or their claim's answer. */
  readonly failedUnkilled: number;
  readonly takeOversMs: readonly number[];
  readonly samples: number;
  readonly peak: Sampler['peak'];
  readonly violations: readonly Violation[];
  /** Where the logs of all processes are kept; only when something was violated. */
  readonly logs: string | null;
}

/**
 * Starts servers, controllers and load, does faults to them for as long as asked, lets everything end, and audits.
 * @throws what keeps it from starting or ending; the signal's reason. Nothing of it is left in any case.
 */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const folder = await makeFolder();
  await using stack = new AsyncDisposableStack();
  stack.defer(() => removeFolder(folder));
  const world = await startWorld(folder, stack, options);
  try {
    return await run(world, stack, options);
  } catch (error) {
    if (!options.signal.aborted) options.onStep(`the logs are in ${await keepLogs(world, options.seed)}`);
    throw error;
  }
}

async function run(world: World, stack: AsyncDisposableStack, options: ChaosOptions): Promise<ChaosReport> {
  const { signal, seed, onStep } = options;
  const log = (message: string): void =>
    appendFileSync(join(world.logs, 'suite.log'), `${new Date().toISOString()} ${message}\n`);
  await poll('a controller leads', READY_MS, signal, () =>
    Promise.resolve(world.controllers.leader !== undefined),
  );

  const pool = new pg.Pool({ connectionString: world.postgres.url, max: 4, connectionTimeoutMillis: 10_000 });
  pool.on('error', () => undefined);
  stack.defer(() => pool.end());
  const client = await connectClient({
    ...{ databaseUrl: world.postgres.url, redisUrl: world.redis.url },
    encryptionKeys: world.encryptionKeys,
  });
  stack.defer(() => client.close());

  const random = new Random(seed);
  const sampler = new Sampler(world);
  const sampling = new AbortController();
  const sampled = sampler.run(sampling.signal);
  stack.defer(async () => {
    sampling.abort();
    await sampled;
  });
  const journal = new Journal();
  const load = new Load({
    ...{ journal, client, pool, log, random: random.fork() },
    redisUrl: world.redis.url,
    tenants: [...CAPS.tenants.keys()],
    versions: await storeVersions(pool),
    queued: () => sampler.queued,
  });
  stack.defer(() => load.close());
  const faults = new Faults({
    ...{ world, sampler, log },
    random: random.fork(),
    onFlush: () => load.redisWasFlushed(),
  });
  stack.defer(() => faults.close());

  const startedAt = performance.now();
  load.start();
  const counts = await strikeAll(faults, random.fork(), options, log);
  const seconds = (performance.now() - startedAt) / 1000;
  load.stop();
  onStep('faults are over; waiting until everything has ended');
  await faults.recovered();
  const settled = await settle(world, load, pool, signal).then(
    () => true,
    (error: unknown) => {
      signal.throwIfAborted();
      onStep(messageOf(error));
      return false;
    },
  );
  await load.close();
  const facts: Facts = {
    caps: CAPS,
    submissions: journal.submissions,
    calls: world.far.calls,
    frozen: faults.frozen,
    ...(await readRecord(pool)),
    ...(await readQueues(world.redis.url)),
    leftovers: [...(await readLeftovers(world)), ...(settled ? await stopControllers(world) : [])],
  };
  const violations = [...sampler.sightings.map((one) => ({ runId: null, ...one })), ...audit(facts)];
  return {
    ...{ seed, seconds, faults: counts, facts, journal, violations },
    kills: [...counts].reduce((sum, [kind, count]) => sum + (isKill(kind) ? count : 0), 0),
    failedUnkilled: facts.runs.filter(
      ({ id, attempt, status }) => status === 'FAILED' && !faults.killed.has(`${id}-${attempt}`),
    ).length,
    takeOversMs: world.controllers.takeOversMs,
    ...{ samples: sampler.samples, peak: sampler.peak },
    logs: violations.length === 0 ? null : await keepLogs(world, seed, facts),
  };
}

/** Strikes until the time is over and there were kills enough. @returns how often each kind was done. */
async function strikeAll(
  faults: Faults,
  random: Random,
  { minutes, killsAtLeast, signal, onStep }: ChaosOptions,
  log: (message: string) => void,
): Promise<Map<FaultKind, number>> {
  const counts = new Map<FaultKind, number>();
  const startedAt = performance.now();
  let kills = 0;
  let toldAt = startedAt;
  /** Kinds that found nothing to hit, and are tried again before the next. */
  const owed: FaultKind[] = [];
  for (const { kind, pauseMs } of schedule(random)) {
    await delay(pauseMs, undefined, { signal });
    const now = performance.now();
    if (now - startedAt >= minutes * 60_000 && kills >= killsAtLeast) return counts;
    for (const next of [...owed.splice(0), kind]) {
      const isDone = await faults.strike(next);
      log(`${next}: ${isDone ? 'done' : 'nothing to hit'}`);
      if (!isDone) owed.push(next);
      else {
        counts.set(next, (counts.get(next) ?? 0) + 1);
        if (isKill(next)) kills += 1;
      }
    }
    if (now - toldAt < PROGRESS_MS) continue;
    toldAt = now;
    onStep(`${kills} kills in ${Math.round((now - startedAt) / 1000)} s`);
  }
  return counts;
}

/** Stores what the load runs, which producers on the queue name by id. @returns the ids by {@link versionName}. */
async function storeVersions(pool: pg.Pool): Promise<Map<string, string>> {
  const versions = new Map<string, string>();
  for (const tenant of CAPS.tenants.keys()) {
    for (const workflow of WORKFLOWS) {
      const definition = workflowDefinitionSchema.parse(definitionOf(workflow));
      const { id } = await transaction(pool, (db) => putWorkflowVersion(db, tenant as TenantId, definition));
      versions.set(versionName(tenant, workflow), id);
    }
  }
  return versions;
}

/** Resolves when all that was sent has been recorded and has ended, and nothing of it is left. */
async function settle(world: World, load: Load, pool: pg.Pool, signal: AbortSignal): Promise<void> {
  await poll('all runs have ended', SETTLE_MS, signal, async () => {
    const { runs } = await readRecord(pool);
    const { jobs } = await readQueues(world.redis.url);
    return load.isSettled && jobs.length === 0 && runs.every(({ status }) => isTerminal(status));
  });
  await poll(
    'everything is removed',
    REMOVE_MS,
    signal,
    async () => (await readLeftovers(world)).length === 0,
  );
}

/** @returns what has not ended with them, a line each. */
async function stopControllers(world: World): Promise<string[]> {
  const killed = await world.controllers.stop();
  return [...killed.map((name) => `${name} did not stop in time`), ...(await readLeftovers(world))];
}

async function poll(
  what: string,
  timeoutMs: number,
  signal: AbortSignal,
  isSo: () => Promise<boolean>,
): Promise<void> {
  const giveUpAt = performance.now() + timeoutMs;
  while (!(await isSo())) {
    if (performance.now() > giveUpAt)
      throw new Error(`after ${timeoutMs / 1000} s it is still not so that ${what}`);
    await delay(POLL_MS, undefined, { signal });
  }
}

/** Copies the logs of all processes out of the suite's folder, beside what was compared. @returns where to. */
async function keepLogs(world: World, seed: number, facts?: Facts): Promise<string> {
  const { cacheDir } = defaultPaths(process.env, process.getuid?.() === 0);
  const kept = join(cacheDir, 'chaos', `${new Date().toISOString().replaceAll(/[:.]/g, '-')}-seed-${seed}`);
  await mkdir(kept, { recursive: true });
  await cp(world.logs, kept, { recursive: true });
  await cp(world.postgres.logFile, join(kept, 'postgres.log'));
  for (const { name } of world.controllers.all) {
    // One that never led has none.
    await cp(join(world.folder, name, 'watchdog.log'), join(kept, `${name}-watchdog.log`)).catch(
      () => undefined,
    );
  }
  if (facts !== undefined) await writeFile(join(kept, 'facts.json'), JSON.stringify(facts, null, 2));
  return kept;
}
