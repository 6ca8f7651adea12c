import { join } from 'node:path';
import type { Environment, PlatformConfig } from '../config.ts';
import type { DemoFolder } from './demo-folder.ts';

/**
 * @returns the configuration of a platform that lives in one folder and dies with it: of the environment only the
 * engine, the images and the caches count.
 */
export const ephemeralConfig = (
  environment: Environment,
  folder: DemoFolder,
  declared: Pick<PlatformConfig, 'maxConcurrent' | 'tenants' | 'internalServices'>,
): PlatformConfig => ({
  ...environment,
  ...declared,
  declaredFile: null,
  instance: folder.instance,
  startRate: undefined,
  logRetentionDays: 1,
  claimTimeoutMs: 60_000,
  retry: { attempts: 3, initialDelayMs: 500, maxDelayMs: 5000 },
  databaseUrl: undefined,
  redisUrl: undefined,
  mongodbUrl: undefined,
  encryptionKeys: undefined,
  egressGrantKey: undefined,
  kubernetes: undefined,
  metricsAddress: undefined,
  traces: undefined,
  paths: { ...environment.paths, stateDir: folder.path },
  runDir: join(folder.path, 'run'),
  ephemeral: true,
});
