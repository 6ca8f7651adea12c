import { App } from 'cdk8s';
import pg from 'pg';
import { ApiClient } from '../controller/backends/kubernetes/api-client.ts';
import { jobName } from '../controller/backends/kubernetes/job-path.ts';
import { KubeConfig } from '@kubernetes/client-node';
import { setTimeout as delay } from 'node:timers/promises';
import { loadEnvironment } from '../controller/config.ts';
import { makeDemoFolder, removeDemoFolder } from '../controller/demo/demo-folder.ts';
import { openKubernetesStage } from '../controller/demo/kubernetes-stage.ts';
import type { Tenant } from '../controller/model/tenant.ts';
import { ACCOUNTS, TenantChart } from '../lib/index.ts';
import { AuditLog, type Write } from './audit-log.ts';
import { BareJob, type BareRun } from './bare-job.ts';
import type { BenchContext } from './benchmark.ts';
import { ClusterTimeline, type JobTimes } from './cluster-timeline.ts';
import { apply, type RunKubectl } from './kubectl.ts';
import { now } from './now.ts';
import { readRunTimes, type RunTimes } from './phases.ts';
import { readRunnerStart, type RunnerStart } from './runner-start.ts';
import { takeTurns, type Turn } from './turns.ts';
import { LONE_TENANT, ONE_STEP } from './workload.ts';

const WARM_UPS = 3;
const REPETITIONS = 30;
/**
 * The kubelet looks for containers that have ended once a second, on its own beat. What is measured begins anywhere in
 * it: waiting for what was before, which the same beat told, would begin always at the same place.
 */
const BEAT_MS = 1000;
/** As environments/dev.yaml declares them. */
const PLATFORM_NAMESPACE = 'wormhole-system';
const INSTANCE = 'wormhole';
const TENANT_PREFIX = 'wormhole-run';
/** Whose writes are ours. */
const OUR_USERS: ReadonlySet<string> = new Set(
  [ACCOUNTS.controller, ACCOUNTS.gateway, ACCOUNTS.egressProxy].map(
    (account) => `system:serviceaccount:${PLATFORM_NAMESPACE}:${account}`,
  ),
);
const OUR_WRITES = `"username":"system:serviceaccount:${PLATFORM_NAMESPACE}:`;
/** What is written because of a run, but not at once, is written within this long. */
const AFTERMATH_MS = 10_000;

/** One run through the platform, from `submit` until a waiting client knows its terminal status. */
export interface ColdRun {
  readonly submitted: number;
  readonly seen: number;
  readonly run: RunTimes;
  /** The API server answered the create of its Job. */
  readonly jobCreated: number;
  readonly cluster: JobTimes;
  readonly runnerStart: RunnerStart;
}

/** Runs and bare Jobs in turn, and what the platform wrote to the API server for all of its runs. */
export interface Cold {
  readonly turns: readonly Turn<ColdRun, BareRun>[];
  /** Warm-ups included. */
  readonly runs: number;
  readonly writes: readonly Write[];
}

/** Brings the whole platform up in a cluster, as the demo does, and measures lone runs. */
export async function measureCold(context: BenchContext): Promise<Cold> {
  const { progress, env, interrupt } = context;
  const signal = interrupt.stop;
  await using opened = new AsyncDisposableStack();
  const stage = opened.use(
    await openKubernetesStage({
      session: context,
      environment: loadEnvironment(env),
      tellStep: (step) => progress.step(step),
    }),
  );
  const folder = await makeDemoFolder();
  opened.defer(() => removeDemoFolder(folder));
  const { client, cluster, databaseUrl } = stage;
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 1 });
  opened.defer(() => pool.end());
  const config = new KubeConfig();
  config.loadFromFile(cluster.kubeconfig);
  const api = new ApiClient(config);
  opened.defer(() => api.close());
  const timeline = new ClusterTimeline(api);
  opened.defer(() => timeline.close());
  const kubectl: RunKubectl = (args, input) => cluster.kubectl(args, input);
  const tenant = LONE_TENANT;
  await apply(kubectl, tenantObjects(tenant));
  await client.applyTenants([tenant]);
  const bareJob = await BareJob.prepare({
    ...{ api, kubectl, timeline, tenant, folder: folder.path },
    platformNamespace: PLATFORM_NAMESPACE,
  });
  const audit = opened.use(await AuditLog.open(cluster.auditLog));
  const written: Write[] = [];
  const readWrites = async (): Promise<Write[]> => {
    const writes = (await audit.read(OUR_WRITES)).filter(({ user }) => OUR_USERS.has(user));
    written.push(...writes);
    return writes;
  };

  const offBeat = async (): Promise<void> => {
    await delay(Math.random() * BEAT_MS, undefined, { signal });
  };
  const measureRun = async (): Promise<ColdRun> => {
    await offBeat();
    const submitted = now();
    const { runId } = await client.submit({ tenantId: tenant.id, definition: ONE_STEP, input: {} });
    await client.waitFor(runId, signal);
    const seen = now();
    const name = jobName({ runId, attempt: 1 });
    const whole = await timeline.whole(name, signal);
    const created = (await readWrites()).find((write) => write.name === name && write.verb === 'create');
    if (created === undefined) throw new Error(`the API server's log does not have Job ${name}`);
    return {
      ...{ submitted, seen, cluster: whole, jobCreated: created.answered },
      run: await readRunTimes(pool, runId),
      runnerStart: await readRunnerStart(client, runId),
    };
  };

  // What was written before is no run's.
  await audit.read(OUR_WRITES);
  progress.step(`one run at a time, in turn with a bare Job, after ${WARM_UPS} of each to warm up`);
  const turns = await takeTurns({
    ...{ warmUps: WARM_UPS, repetitions: REPETITIONS, progress },
    measureRun,
    measureBare: async () => {
      await offBeat();
      return await bareJob.once(signal);
    },
  });
  await delay(AFTERMATH_MS, undefined, { signal });
  await readWrites();
  return { turns, runs: turns.length + WARM_UPS, writes: written };
}

/** A tenant with a whole core for its run, which the demo's do not have. */
const tenantObjects = ({ id, maxConcurrent, limits: { cpus, memoryMb, tmpMb } }: Tenant): unknown[] =>
  new TenantChart(new App(), 'tenant', {
    ...{ instance: INSTANCE, platformNamespace: PLATFORM_NAMESPACE, maxConcurrent },
    ...{ tenantId: id, namespace: `${TENANT_PREFIX}-${id}`, size: { cpus, memoryMb, tmpMb } },
  }).toJson() as unknown[];
