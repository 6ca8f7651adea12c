import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll } from 'vitest';
import { askHost } from './host-protocol.ts';

/** A database of one test file: our schema and BullMQ's, otherwise empty. */
export interface TestDatabase {
  /** How to connect, for `pg`. */
  readonly connection: {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly database: string;
  };
  /** The same as a URL, for `DATABASE_URL`. */
  readonly url: string;
  /** A pool on it, closed after the file's tests. */
  readonly pool: pg.Pool;
}

/** How long connections that were closed may take to vanish from the server's list. */
const CLOSING_MS = 2000;
const CLOSING_POLL_MS = 20;

/**
 * Makes a database for the test file, dropped after its tests, which fail if a connection to it is still open then.
 * Call it where tests are declared: `const database = await cloneDatabase();`, at the top of the file or in a
 * `describe`.
 */
export async function cloneDatabase(): Promise<TestDatabase> {
  let drop = (): Promise<void> => Promise.resolve();
  afterAll(() => drop());

  const server = await askHost('postgres');
  if ('missing' in server) throw new Error(server.missing);
  const { template, ...address } = server.value;
  const database = `test_${randomUUID().replaceAll('-', '')}`;
  const administration = { ...address, database: 'postgres' };
  await query(administration, `CREATE DATABASE ${database} TEMPLATE ${template}`);
  const connection = { ...address, database };
  const pool = new pg.Pool(connection);
  drop = async () => {
    const closed = pool.end();
    const leaked = await openConnections(administration, database);
    if (leaked.length > 0) {
      throw new Error(`${leaked.length} database connections were not closed: ${leaked.join('; ')}`);
    }
    await closed;
    await query(administration, `DROP DATABASE ${database}`);
  };
  const url = `postgresql://${address.user}@localhost:${address.port}/${database}?host=${encodeURIComponent(address.host)}`;
  return { connection, url, pool };
}

/** @returns the connections to the database, by name and last query, as soon as there are none or after a while. */
async function openConnections(administration: pg.ClientConfig, database: string): Promise<string[]> {
  const giveUpAt = Date.now() + CLOSING_MS;
  for (;;) {
    const open = await query<{ application_name: string; query: string }>(
      administration,
      'SELECT application_name, query FROM pg_stat_activity WHERE datname = $1',
      [database],
    );
    if (open.length === 0 || Date.now() > giveUpAt) {
      return open.map((row) => `"${row.application_name}" after ${row.query.slice(0, 100)}`);
    }
    await sleep(CLOSING_POLL_MS);
  }
}

async function query<Row extends pg.QueryResultRow>(
  config: pg.ClientConfig,
  text: string,
  values: unknown[] = [],
): Promise<Row[]> {
  const client = new pg.Client(config);
  await client.connect();
  try {
    return (await client.query<Row>(text, values)).rows;
  } finally {
    await client.end();
  }
}
