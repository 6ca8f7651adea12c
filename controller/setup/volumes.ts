import { randomBytes } from 'node:crypto';
import { chmod, chown, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { newKeyRing } from './secrets.ts';

/**
 * The groups that the containers of deploy/compose/compose.yaml are in, by the volume with their secrets. A secret is
 * root's, and its group may read it.
 */
export const SECRET_READERS = {
  postgres: 999,
  redis: 999,
  mongodb: 999,
  controller: 65530,
  gateway: 65530,
  'egress-proxy': 65530,
} as const;
type SecretVolume = keyof typeof SECRET_READERS;

/** The user and group of the database servers, whose data is theirs: what the official images have. */
export const SERVER_ID = 999;
/** The volumes with the servers' data. */
export const DATA_VOLUMES = ['postgres', 'redis', 'mongodb'] as const;

const USER = 'wormhole';
const KEY_BYTES = 32;
const DIR_MODE = 0o750;
const FILE_MODE = 0o640;

export interface VolumesOptions {
  /** Has one folder for each process: its secrets, and no others. */
  readonly secretsDir: string;
  /** Has one folder for each database server. */
  readonly dataDir: string;
  /** What comes after the `?` of MongoDB's URL: how its server authenticates. */
  readonly mongodbOptions: string;
}

/**
 * Makes what a platform in containers of one machine needs before anything starts: passwords and keys, each in the
 * volumes of those who use it, and data folders that their servers own. A secret that is there stays as it is, so this
 * can be done at every start. Root with CAP_CHOWN, and no other right, can do it.
 * @returns the names of the secrets that were made now.
 */
export async function prepareVolumes(options: VolumesOptions): Promise<readonly string[]> {
  const { secretsDir, dataDir, mongodbOptions } = options;
  const made: string[] = [];
  const put = (volume: SecretVolume, name: string, text: string): Promise<void> =>
    write(join(secretsDir, volume), name, text, SECRET_READERS[volume]);
  const keep = async (volume: SecretVolume, name: string, make: () => string): Promise<string> => {
    const there = await readFile(join(secretsDir, volume, name), 'utf8').catch(ignoreMissing);
    if (there !== undefined) return there;
    const text = make();
    await put(volume, name, text);
    made.push(`${volume}/${name}`);
    return text;
  };

  for (const [volume, group] of Object.entries(SECRET_READERS)) {
    await chown(join(secretsDir, volume), 0, group);
    await chmod(join(secretsDir, volume), DIR_MODE);
  }
  const password = (): string => randomBytes(KEY_BYTES).toString('hex');
  const postgres = await keep('postgres', 'password', password);
  const mongodb = await keep('mongodb', 'password', password);
  const redis = await keep('redis', 'password', password);
  const grantKey = await keep('gateway', 'WORMHOLE_EGRESS_GRANT_KEY', () =>
    randomBytes(KEY_BYTES).toString('base64'),
  );
  await keep('gateway', 'WORMHOLE_ENCRYPTION_KEYS', newKeyRing);

  await put('redis', 'redis.conf', redisConfig(redis));
  await put('egress-proxy', 'WORMHOLE_EGRESS_GRANT_KEY', grantKey);
  for (const volume of ['controller', 'gateway'] as const) {
    await put(volume, 'DATABASE_URL', `postgres://${USER}:${postgres}@postgres:5432/${USER}`);
    await put(volume, 'MONGODB_URL', `mongodb://${USER}:${mongodb}@mongodb:27017/${USER}?${mongodbOptions}`);
  }
  await put('controller', 'REDIS_URL', `redis://:${redis}@redis:6379/0`);
  for (const volume of DATA_VOLUMES) await giveAway(join(dataDir, volume));
  return made;
}

/** Renamed into place: a process that is just being started never reads half a secret. */
async function write(folder: string, name: string, text: string, group: number): Promise<void> {
  const partial = join(folder, `.${name}`);
  await writeFile(partial, text, { mode: FILE_MODE });
  await chmod(partial, FILE_MODE);
  await chown(partial, 0, group);
  await rename(partial, join(folder, name));
}

/** Root without further rights can change the mode only of what it owns, so that comes first, and once. */
async function giveAway(folder: string): Promise<void> {
  const { uid, gid } = await stat(folder);
  if (uid === SERVER_ID && gid === SERVER_ID) return;
  await chmod(folder, 0o700);
  await chown(folder, SERVER_ID, SERVER_ID);
}

/** Jobs must not be evicted (BullMQ's documentation, "Going to production"), and survive a restart. */
const redisConfig = (password: string): string =>
  [
    `requirepass ${password}`,
    'dir /data',
    'appendonly yes',
    'maxmemory-policy noeviction',
    'protected-mode no',
    '',
  ].join('\n');

const ignoreMissing = (error: unknown): undefined => {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
  throw error;
};
