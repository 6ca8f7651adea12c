import pg from 'pg';
import { startPostgres } from '../../../controller/setup/postgres.ts';
import { migrate } from '../../../controller/store/migrate.ts';
import type { Servers } from '../host-protocol.ts';
import type { StartServer } from './server.ts';

const TEMPLATE = 'template_wormhole';

/** The embedded PostgreSQL, with a migrated database to clone. */
export const startTestPostgres: StartServer<Servers['postgres']> = async (context) => {
  const server = await startPostgres({ ...context, durable: false });
  try {
    await makeTemplate(server.connection);
  } catch (error) {
    await server.stop();
    throw error;
  }
  const { host, port, user } = server.connection;
  return {
    value: { lease: () => ({ host, port, user, template: TEMPLATE }), stop: () => server.stop() },
  };
};

async function makeTemplate(connection: pg.ClientConfig): Promise<void> {
  const client = new pg.Client(connection);
  await client.connect();
  try {
    await client.query(`CREATE DATABASE ${TEMPLATE}`);
  } finally {
    await client.end();
  }
  const pool = new pg.Pool({ ...connection, database: TEMPLATE });
  try {
    await migrate(pool);
  } finally {
    await pool.end();
  }
}
