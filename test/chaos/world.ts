import { createHash, randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type Dockerode from 'dockerode';
import { connectEngine } from '../../controller/setup/engine.ts';
import { ensureRunnerImage } from '../../controller/setup/image.ts';
import { defaultPaths } from '../../controller/setup/paths.ts';
import { findServer } from '../support/servers/redis.ts';
import { SecondEngine } from '../support/second-engine.ts';
import { Controllers } from './controllers.ts';
import { FAR_HOST, FarService } from './far-service.ts';
import { engineFolder } from './folder.ts';
import { PostgresServer } from './postgres-server.ts';
import { RedisServer } from './redis-server.ts';

export const INSTANCE = 'chaos';

/** The caps that the audit holds the platform to. Together the tenants may have more than the platform. */
export const CAPS = {
  global: 5,
  tenants: new Map([
    ['ash', 1],
    ['birch', 2],
    ['cedar', 2],
    ['dogwood', 3],
  ]),
} as const;

/** Few enough that this tenant's queue is full now and then. */
const FULL_TENANT = 'dogwood';
const FULL_AT = 6;
const CONTROLLERS = 2;

/** Everything that a suite kills, and the far side, which it does not. */
export interface World {
  readonly folder: string;
  readonly logs: string;
  readonly postgres: PostgresServer;
  readonly redis: RedisServer;
  readonly engine: SecondEngine;
  readonly controllers: Controllers;
  readonly far: FarService;
  /** Where the folders of runs are made. */
  readonly runDir: string;
  readonly encryptionKeys: string;
}

/**
 * Starts servers and controllers; the caller's stack stops them.
 * @throws when this machine lacks something, naming it.
 */
export async function startWorld(
  folder: string,
  stack: AsyncDisposableStack,
  options: { readonly onStep: (step: string) => void; readonly signal: AbortSignal },
): Promise<World> {
  const onStep = (step: string): void => {
    options.signal.throwIfAborted();
    options.onStep(step);
  };
  const { cacheDir } = defaultPaths(process.env, process.getuid?.() === 0);
  const logs = join(folder, 'logs');
  await mkdir(logs);

  const far = await FarService.start();
  stack.defer(() => far.stop());
  onStep('starting a container engine with the runner image');
  const engine = new SecondEngine(engineFolder(folder), join(logs, 'dockerd.log'));
  await mkdir(engineFolder(folder));
  await engine.up({ liveRestore: true });
  const image = await copyRunnerImage(engine.docker, cacheDir, onStep);
  onStep('starting PostgreSQL and Redis');
  const postgres = await PostgresServer.start(join(folder, 'pg'), cacheDir);
  stack.defer(() => postgres.stop());
  const program = await findServer(onStep);
  if ('missing' in program) throw new Error(`chaos needs ${program.missing}`);
  const redis = await RedisServer.start({
    program: program.value,
    folder: join(folder, 'redis'),
    log: join(logs, 'redis.log'),
  });
  stack.defer(() => redis.kill());

  onStep('starting controllers');
  const encryptionKeys = `c:${randomBytes(32).toString('base64')}`;
  const configFile = join(folder, 'wormhole.yaml');
  await writeFile(configFile, JSON.stringify(declared(far)));
  const baseRunDir = join(folder, 'r');
  const controllers = new Controllers(CONTROLLERS, {
    ...{ folder, logs, configFile },
    env: {
      ...{ PATH: process.env['PATH'], HOME: folder, TMPDIR: folder },
      DATABASE_URL: postgres.url,
      REDIS_URL: redis.url,
      DOCKER_HOST: `unix://${engine.socketPath}`,
      WORMHOLE_ENCRYPTION_KEYS: encryptionKeys,
      WORMHOLE_CACHE_DIR: cacheDir,
      WORMHOLE_RUN_DIR: baseRunDir,
      WORMHOLE_RUNNER_IMAGE: image,
    },
  });
  stack.defer(() => controllers.end());
  controllers.start();
  const runDir = join(baseRunDir, createHash('sha256').update(INSTANCE).digest('hex').slice(0, 8));
  return { folder, logs, postgres, redis, engine, controllers, far, runDir, encryptionKeys };
}

function declared(far: FarService): object {
  return {
    instance: INSTANCE,
    maxConcurrent: CAPS.global,
    internalServices: [far.service],
    tenants: [...CAPS.tenants].map(([id, maxConcurrent]) => ({
      ...{ id, maxConcurrent },
      ...(id === FULL_TENANT && { maxQueued: FULL_AT, whenFull: 'wait' }),
      limits: { cpus: 1, memoryMb: 96, pids: 64, tmpMb: 16 },
      egress: { mode: 'allowlist', allow: [{ host: FAR_HOST, ports: [80] }] },
    })),
  };
}

/** Builds the image where it is kept between suites, and copies it. @returns its id. */
async function copyRunnerImage(
  target: Dockerode,
  cacheDir: string,
  onProgress: (step: string) => void,
): Promise<string> {
  const source = await connectEngine({ dockerHost: process.env['DOCKER_HOST'], cacheDir, onProgress });
  try {
    const { image } = await ensureRunnerImage(source, {
      ...{ cacheDir, onProgress },
      runnerImage: process.env['WORMHOLE_RUNNER_IMAGE'],
      baseImage: process.env['WORMHOLE_BASE_IMAGE'],
    });
    await text(await target.loadImage(await source.docker.getImage(image).get()));
    return image;
  } finally {
    await source.release();
  }
}
