import pg from 'pg';
import { describe, expect, test } from 'vitest';
import { isDatabaseUnavailable, transaction, withClient } from '../../../controller/store/database.ts';
import { cloneDatabase } from '../../support/database.ts';

const { connection, pool } = await cloneDatabase();

/** Ends the client's connection from the server's side, as a restart or a failover does. */
async function cutOff(client: pg.PoolClient & { readonly processID?: number }): Promise<void> {
  const ended = new Promise<void>((resolve) => void client.once('end', resolve));
  await pool.query('SELECT pg_terminate_backend($1)', [client.processID]);
  await ended;
}

/** What nobody caught while `work` ran: outside of a test it would have ended the process. */
async function uncaughtDuring(work: () => Promise<void>): Promise<unknown[]> {
  const uncaught: unknown[] = [];
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', (error) => uncaught.push(error));
  try {
    await work();
  } finally {
    process.removeAllListeners('uncaughtException');
    for (const other of others) process.on('uncaughtException', other);
  }
  return uncaught;
}

test('a connection that ends within a transaction fails the transaction, and nothing else', async () => {
  const uncaught = await uncaughtDuring(async () => {
    const failed = transaction(pool, async (client) => {
      await cutOff(client);
      await client.query('SELECT 1');
    });
    await expect(failed).rejects.toSatisfy(isDatabaseUnavailable);
  });
  expect(uncaught).toEqual([]);
  expect(await transaction(pool, (client) => client.query('SELECT 1'))).toMatchObject({ rowCount: 1 });
});

test('a connection that ended while it was out is not used again', async () => {
  const uncaught = await uncaughtDuring(async () => {
    await withClient(pool, cutOff);
    for (let again = 0; again < 5; again += 1) await withClient(pool, (client) => client.query('SELECT 1'));
  });
  expect(uncaught).toEqual([]);
});

describe('trying again may help', () => {
  const failure = async (work: (client: pg.PoolClient) => Promise<unknown>): Promise<unknown> =>
    await transaction(pool, work).catch((error: unknown) => error);

  test('when the server became a standby, which takes no writes', async () => {
    const error = await failure(async (client) => {
      await client.query('SET TRANSACTION READ ONLY');
      await client.query('CREATE TABLE refused ()');
    });
    expect(isDatabaseUnavailable(error)).toBe(true);
  });

  test('when another transaction was in the way', async () => {
    const error = await failure(async (client) => {
      await client.query('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE');
      await client.query('SELECT max_concurrent FROM platform');
      await pool.query('UPDATE platform SET max_concurrent = max_concurrent');
      await client.query('UPDATE platform SET max_concurrent = max_concurrent');
    });
    expect(error).toMatchObject({ code: '40001' });
    expect(isDatabaseUnavailable(error)).toBe(true);
  });

  test('when its name or its address cannot be found now', async () => {
    const client = new pg.Client({ ...connection, host: 'postgres.invalid', port: 5432 });
    const error = await client.connect().catch((cause: unknown) => cause);
    expect(isDatabaseUnavailable(error)).toBe(true);
    for (const code of ['EAI_AGAIN', 'ENOTFOUND', 'EHOSTUNREACH', 'ENETUNREACH', '40P01']) {
      expect(isDatabaseUnavailable(Object.assign(new Error('x'), { code }))).toBe(true);
    }
  });

  test('but not when the query is wrong', async () => {
    expect(isDatabaseUnavailable(await failure((client) => client.query('SELECT nonsense')))).toBe(false);
  });
});
