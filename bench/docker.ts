import { join } from 'node:path';
import pg from 'pg';
import { pino } from 'pino';
import { peopleLog } from '../controller/cli/people-log.ts';
import { loadEnvironment, type Environment } from '../controller/config.ts';
import { ephemeralConfig } from '../controller/demo/ephemeral-config.ts';
import { makeDemoFolder, removeDemoFolder, type DemoFolder } from '../controller/demo/demo-folder.ts';
import { findLeftovers, removeLeftovers } from '../controller/demo/leftovers.ts';
import { demoInternalService } from '../controller/demo/scenarios.ts';
import { startDemoService } from '../controller/demo/service.ts';
import { startPlatform } from '../controller/platform.ts';
import { connectEngine, type Engine } from '../controller/setup/engine.ts';
import { commandOf } from '../controller/setup/process-command.ts';
import type { BenchContext, Benchmark } from './benchmark.ts';
import { measureCrowd, type Crowd } from './crowd.ts';
import { dockerReport } from './docker-report.ts';
import { DockerRun } from './docker-run.ts';
import { EngineTimeline } from './engine-timeline.ts';
import { measurePairs, type Pair } from './lone-runs.ts';
import { CROWD_TENANTS, GLOBAL_CAP, LONE_TENANT, URL_OF_CALL } from './workload.ts';

/** All that was measured on the Docker backend. */
export interface DockerFindings {
  readonly pairs: readonly Pair[];
  readonly means: DockerRun['means'];
  /** Its leftovers count the platform's processes too. */
  readonly crowd: Crowd;
  /** The image's size unpacked, in megabytes (10⁶ bytes). */
  readonly imageMb: number;
}

/** What is left of a benchmark that was killed, the next demo or benchmark removes. */
export const dockerBenchmark: Benchmark = {
  parts: [],
  run: async (context) => dockerReport(await measureDocker(context)),
};

async function measureDocker(context: BenchContext): Promise<DockerFindings> {
  const environment = loadEnvironment();
  const engine = await connectEngine({
    dockerHost: environment.dockerHost,
    cacheDir: environment.paths.cacheDir,
    onProgress: (step) => context.progress.step(step),
  });
  try {
    await removeLeftovers(engine.docker);
    const folder = await makeDemoFolder();
    try {
      const findings = await measure(context, environment, engine, folder);
      const left = await findLeftovers(engine.docker, folder);
      const leftovers = [
        ...findings.crowd.leftovers,
        ...left.containers.map((id) => `container ${id}`),
        ...(await Promise.all(left.processes.map(describeProcess))),
      ];
      for (const left of leftovers) context.progress.step(`left: ${left}`);
      return { ...findings, crowd: { ...findings.crowd, leftovers } };
    } finally {
      removeDemoFolder(folder);
    }
  } finally {
    await engine.release();
  }
}

async function measure(
  { progress, streams: { stderr }, interrupt: { stop: signal } }: BenchContext,
  environment: Environment,
  { docker }: Engine,
  folder: DemoFolder,
): Promise<DockerFindings> {
  await using opened = new AsyncDisposableStack();
  const service = await startDemoService();
  opened.defer(() => service.stop());
  const internalServices = [demoInternalService(service)];
  const config = ephemeralConfig(environment, folder, {
    maxConcurrent: GLOBAL_CAP,
    tenants: [LONE_TENANT, ...CROWD_TENANTS],
    internalServices,
  });
  const platform = await startPlatform({
    config,
    log: pino({ level: 'warn' }, peopleLog(stderr)),
    onStep: (step) => progress.step(step),
    signal,
  });
  opened.defer(() => platform.stop({ drainMs: 0 }));
  const { client, facts } = platform;
  const pool = new pg.Pool({ connectionString: facts.databaseUrl, max: 1 });
  opened.defer(() => pool.end());
  const timeline = await EngineTimeline.open(docker);
  opened.defer(() => timeline.close());
  const { socketPath } = docker.modem as { socketPath?: string };
  if (socketPath === undefined)
    throw new Error('the engine has no Unix socket, so the docker command cannot use it');
  const dockerRun = await DockerRun.prepare({
    ...{ docker, socketPath, internalServices },
    image: facts.image,
    folder: join(folder.path, 'docker-run'),
    tenant: LONE_TENANT,
    url: URL_OF_CALL,
  });
  opened.defer(() => dockerRun.close());

  const pairs = await measurePairs({ client, pool, timeline, dockerRun, progress, signal });
  const { instance, runDir } = config;
  const crowd = await measureCrowd({ client, docker, timeline, instance, runDir, progress, signal });
  const { Size: imageBytes } = await docker.getImage(facts.image).inspect();
  return { pairs, means: dockerRun.means, crowd, imageMb: imageBytes / 1e6 };
}

const describeProcess = async (pid: number): Promise<string> =>
  `process ${pid} (${(await commandOf(pid)) ?? 'ended meanwhile'})`;
