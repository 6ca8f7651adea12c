import type pg from 'pg';
import { MongoLogStore } from './mongodb.ts';
import { PostgresLogStore } from './postgres.ts';
import type { LogStore } from './types.ts';

/**
 * Opens the place where logs go: MongoDB where there is one, otherwise the platform's own PostgreSQL.
 * @throws {WormholeError} `DATABASE_UNAVAILABLE` when MongoDB does not answer.
 */
export function openLogStore(options: {
  readonly pool: pg.Pool;
  readonly mongodbUrl: string | undefined;
  /** How long a line is kept. Only the controller says so, and sees to it. */
  readonly retentionDays?: number;
  /** Told in a line when something is not as it should be. */
  readonly log?: (message: string) => void;
}): Promise<LogStore> {
  const { pool, retentionDays: days, log = () => undefined } = options;
  if (options.mongodbUrl === undefined) {
    return Promise.resolve(new PostgresLogStore(pool, days === undefined ? undefined : { days, log }));
  }
  return MongoLogStore.open({
    url: options.mongodbUrl,
    ...(days !== undefined && { retentionDays: days }),
    log,
  });
}
