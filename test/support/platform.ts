import { randomBytes, randomUUID } from 'node:crypto';
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type Dockerode from 'dockerode';
import { pino } from 'pino';
import { loadConfig, type PlatformConfig } from '../../controller/config.ts';
import type { InternalService } from '../../controller/egress/internal-service.ts';
import { LABELS } from '../../controller/model/labels.ts';
import { tenantSchema } from '../../controller/model/tenant.ts';
import { startPlatform, type Platform } from '../../controller/platform.ts';
import { FAR_SIDE } from './far-side.ts';

/** A platform of one test file, with an instance name, folders and containers of its own. */
export interface TestPlatform extends Platform {
  readonly config: PlatformConfig;
  /** Stops it, removes its folders, and fails if it left a container or a run folder. */
  close(): Promise<void>;
}

export interface TestPlatformOptions {
  readonly docker: Dockerode;
  readonly databaseUrl: string;
  readonly redisUrl?: string;
  readonly mongodbUrl?: string;
  /** Cap by tenant id. All may call the far side. */
  readonly tenants: Readonly<Record<string, number>>;
  readonly maxConcurrent?: number;
  readonly services: readonly InternalService[];
}

/** @returns the configuration of a platform that nothing else shares, its folders made. */
export async function testConfig(options: TestPlatformOptions): Promise<PlatformConfig> {
  const folder = await mkdtemp(join(tmpdir(), 'wh-'));
  await chmod(folder, 0o711);
  const { socketPath } = options.docker.modem as { socketPath?: string };
  return {
    ...loadConfig({
      env: {
        ...process.env,
        WORMHOLE_RUN_DIR: join(folder, 'r'),
        WORMHOLE_STATE_DIR: join(folder, 's'),
      },
    }),
    instance: `t-${randomUUID().slice(0, 8)}`,
    dockerHost: `unix://${socketPath ?? ''}`,
    databaseUrl: options.databaseUrl,
    redisUrl: options.redisUrl,
    mongodbUrl: options.mongodbUrl,
    encryptionKeys: `t:${randomBytes(32).toString('base64')}`,
    maxConcurrent: options.maxConcurrent ?? 50,
    internalServices: options.services,
    retry: { attempts: 3, initialDelayMs: 50, maxDelayMs: 200 },
    tenants: Object.entries(options.tenants).map(([id, maxConcurrent]) =>
      tenantSchema.parse({
        id,
        maxConcurrent,
        maxQueued: 100,
        limits: { cpus: 1, memoryMb: 96, pids: 64, tmpMb: 16 },
        egress: { mode: 'allowlist', allow: [{ host: FAR_SIDE, ports: [80] }] },
      }),
    ),
  };
}

/** Starts a platform in this process. */
export async function startTestPlatform(options: TestPlatformOptions): Promise<TestPlatform> {
  const config = await testConfig(options);
  const platform = await startPlatform({ config, log: pino({ level: 'silent' }), onStep: () => undefined });
  return {
    ...platform,
    config,
    close: async () => {
      await platform.stop({ drainMs: 0 });
      await assertNothingLeft(options.docker, config);
    },
  };
}

/** @returns the instance's containers, ended ones included. */
export async function containersOf(docker: Dockerode, instance: string): Promise<Dockerode.ContainerInfo[]> {
  return await docker.listContainers({ all: true, filters: { label: [`${LABELS.instance}=${instance}`] } });
}

/** Removes the platform's folders. @throws when a container or a run folder is left. */
export async function assertNothingLeft(docker: Dockerode, config: PlatformConfig): Promise<void> {
  const containers = await containersOf(docker, config.instance);
  const folders = await readdir(config.runDir).catch(() => []);
  await Promise.all(containers.map(({ Id }) => docker.getContainer(Id).remove({ force: true })));
  await rm(join(config.runDir, '..'), { recursive: true, force: true });
  if (containers.length + folders.length > 0) {
    throw new Error(
      `left over: ${containers.length} containers, run folders ${folders.join(', ') || 'none'}`,
    );
  }
}
