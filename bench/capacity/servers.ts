import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { loadEnvironment } from '../../controller/config.ts';
import { makeDemoFolder, removeDemoFolder } from '../../controller/demo/demo-folder.ts';
import { startPostgres } from '../../controller/setup/postgres.ts';
import { migrate } from '../../controller/store/migrate.ts';
import { startTestRedis } from '../../test/support/servers/redis.ts';
import type { BenchContext } from '../benchmark.ts';
import { LeaderProcess } from './leader-process.ts';
import type { LeaderOptions } from './messages.ts';

/** Where the queue is. */
export type QueueKind = 'redis' | 'embedded';

/** A platform without a controller: a database, and perhaps one of Redis, of its own. */
export interface Place extends AsyncDisposable {
  readonly database: string;
  readonly databaseUrl: string;
  readonly redisUrl: string | undefined;
  readonly pool: pg.Pool;
}

/** What a measured controller is started with, besides where it leads. */
export type LeaderSettings = Pick<LeaderOptions, 'maxConcurrent' | 'gate'>;

/** The servers of the benchmark: an embedded PostgreSQL without fsync, and a Redis. */
export interface Servers extends AsyncDisposable {
  /** @param template what it is a copy of: nobody else may be connected to it. @default - migrated and empty */
  readonly place: (kind: QueueKind, template?: string) => Promise<Place>;
  /** Starts a controller that leads there, or stands by. */
  readonly lead: (
    place: Place,
    settings: LeaderSettings,
    role?: 'leading' | 'standing-by',
  ) => Promise<LeaderProcess>;
}

/** @throws what is missing. Nothing is left then. */
export async function openServers({ env, progress, interrupt }: BenchContext): Promise<Servers> {
  const signal = interrupt.stop;
  const log = (line: string): void => progress.step(line);
  await using opened = new AsyncDisposableStack();
  const folder = await makeDemoFolder();
  opened.defer(() => removeDemoFolder(folder));
  const { cacheDir } = loadEnvironment(env).paths;
  const postgres = await startPostgres({ dir: join(folder.path, 'postgres'), cacheDir, durable: false, log });
  opened.defer(() => postgres.stop());
  const redisDir = join(folder.path, 'redis');
  await mkdir(redisDir);
  const redis = await startTestRedis({ dir: redisDir, cacheDir, log });
  if ('missing' in redis) throw new Error(`the benchmark needs ${redis.missing}`);
  opened.defer(() => redis.value.stop());
  const admin = new pg.Pool({ connectionString: postgres.url, max: 1 });
  opened.defer(() => admin.end());
  let made = 0;

  const all = opened.move();
  return {
    place: async (kind, template) => {
      signal.throwIfAborted();
      made += 1;
      const database = `bench_${made}`;
      await admin.query(
        `CREATE DATABASE ${database} ${template === undefined ? '' : `TEMPLATE ${template}`}`,
      );
      const databaseUrl = Object.assign(new URL(postgres.url), { pathname: `/${database}` }).href;
      const pool = new pg.Pool({ connectionString: databaseUrl, max: 2 });
      await migrate(pool);
      return {
        ...{ database, databaseUrl, pool },
        redisUrl: kind === 'redis' ? redis.value.lease() : undefined,
        [Symbol.asyncDispose]: () => pool.end(),
      };
    },
    lead: ({ databaseUrl, redisUrl }, settings, role = 'leading') =>
      LeaderProcess.start(
        { databaseUrl, redisUrl, folder: folder.path, instance: folder.instance, ...settings },
        role,
        signal,
      ),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}
