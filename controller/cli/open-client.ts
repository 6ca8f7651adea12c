import { existsSync } from 'node:fs';
import { connectClient, type Client } from '../client.ts';
import { loadEnvironment, type Environment } from '../config.ts';
import { messageOf, WormholeError } from '../errors.ts';
import { encryptionKeyFile, loadOrCreateKeyFile } from '../secrets/key-file.ts';
import { readPlatformFile, type PlatformFile } from './platform-file.ts';

/** How other commands reach a platform. */
export interface OpenClientOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether credentials will be sealed, which needs the platform's own keys. */
  readonly sealing: boolean;
}

/**
 * Connects to the platform that runs: the one of DATABASE_URL, or the one that `wormhole up` started on this machine.
 * @throws {WormholeError} PLATFORM_NOT_RUNNING, with how to start it or which variable is missing.
 */
export async function openClient(options: OpenClientOptions): Promise<Client> {
  const environment = loadEnvironment(options.env);
  const platform = await readPlatformFile(environment.paths.stateDir);
  const databaseUrl = environment.databaseUrl ?? databaseOf(platform);
  if (platform !== undefined) refuseWithoutVariables(platform, options.env);
  const keys = await encryptionKeys(environment, options.sealing);
  try {
    return await connectClient({
      databaseUrl,
      redisUrl: environment.redisUrl,
      mongodbUrl: environment.mongodbUrl,
      encryptionKeys: keys,
    });
  } catch (error) {
    if (error instanceof WormholeError) throw error;
    const { host } = new URL(databaseUrl);
    const why = messageOf(error) || ((error as NodeJS.ErrnoException).code ?? 'no answer');
    throw new WormholeError(
      'DATABASE_UNAVAILABLE',
      `PostgreSQL at ${host} cannot be used: ${why}; check DATABASE_URL`,
      {
        cause: error,
      },
    );
  }
}

function databaseOf(platform: PlatformFile | undefined): string {
  if (platform === undefined) {
    throw new WormholeError(
      'PLATFORM_NOT_RUNNING',
      'no platform runs here: start it with "npx wormhole up", or set DATABASE_URL to the database of one that runs elsewhere',
    );
  }
  return platform.databaseUrl ?? '';
}

function refuseWithoutVariables(platform: PlatformFile, env: OpenClientOptions['env']): void {
  const missing = platform.needs.filter((name) => env[name] === undefined || env[name] === '');
  if (missing.length === 0) return;
  throw new WormholeError(
    'PLATFORM_NOT_RUNNING',
    `the platform (process ${platform.pid}) was started with ${missing.join(' and ')}: set the same here`,
  );
}

async function encryptionKeys(environment: Environment, sealing: boolean): Promise<string | undefined> {
  if (environment.encryptionKeys !== undefined) return environment.encryptionKeys;
  const file = encryptionKeyFile(environment.paths.stateDir);
  if (existsSync(file)) return await loadOrCreateKeyFile(file);
  if (sealing) {
    throw new WormholeError(
      'ENCRYPTION_KEY_INVALID',
      `WORMHOLE_ENCRYPTION_KEYS is not set and ${file} does not exist: set it to the keys of the platform, which has to open what is sealed here`,
    );
  }
  return undefined;
}
