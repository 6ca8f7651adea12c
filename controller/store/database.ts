import type pg from 'pg';

/** Anything that runs a query: the pool, or a client inside a transaction. */
export type Queryable = Pick<pg.ClientBase, 'query'>;

/**
 * Runs `work` on one client of the pool. A connection that ends meanwhile fails the queries that follow, and is not
 * used again.
 * @param work may call `discard` to say that the client is broken.
 */
export async function withClient<T>(
  pool: pg.Pool,
  work: (client: pg.PoolClient, discard: (error: Error) => void) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  // The pool listens to idle clients only, and an `error` that nobody listens to ends the process.
  let broken: Error | undefined;
  const discard = (error: Error): void => {
    broken = error;
  };
  client.on('error', discard);
  try {
    return await work(client, discard);
  } finally {
    client.off('error', discard);
    client.release(broken);
  }
}

/**
 * Runs `work` in one transaction on one client: committed when it resolves, rolled back when it throws.
 * @param begin what opens it; may go on with statements that need no values, and so no round trip of their own.
 */
export async function transaction<T>(
  pool: pg.Pool,
  work: (client: pg.PoolClient) => Promise<T>,
  begin = 'BEGIN',
): Promise<T> {
  return await withClient(pool, async (client, discard) => {
    try {
      await client.query(begin);
      const result = await work(client);
      await client.query('COMMIT');
      return result;
    } catch (error) {
      // A client whose rollback fails is broken: it must not go back to the pool.
      await client.query('ROLLBACK').catch(discard);
      throw error;
    }
  });
}

/**
 * SQLSTATEs (PostgreSQL, appendix A) of a server that is going away, coming up or out of resources (08, 53, 57P), that
 * became a standby (25006), or that ended this transaction for the sake of another (40001, 40P01).
 */
const UNAVAILABLE_SQLSTATES = /^(?:08|53|57P|25006$|40001$|40P01$)/;
const UNAVAILABLE_ERRNOS = new Set([
  'EAI_AGAIN',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
]);
/** What `pg` says without a code. */
const UNAVAILABLE_MESSAGES =
  /^(?:Connection terminated|Client has encountered a connection error|timeout exceeded when trying to connect)/;

/** @returns whether the error says that trying again may help, and not that the query is wrong. */
export function isDatabaseUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return (
    UNAVAILABLE_SQLSTATES.test(code) ||
    UNAVAILABLE_ERRNOS.has(code) ||
    UNAVAILABLE_MESSAGES.test(error.message)
  );
}
