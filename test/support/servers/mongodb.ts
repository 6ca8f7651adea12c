import { join } from 'node:path';
import type { Servers } from '../host-protocol.ts';
import { startChildServer } from './child-server.ts';
import { buildFerretDb } from './ferretdb.ts';
import type { StartServer } from './server.ts';

const OWN_SERVER = 'WORMHOLE_TEST_MONGODB_URL';

/**
 * The server of WORMHOLE_TEST_MONGODB_URL (databases `wormhole_test_…` are then made on it), or a FerretDB of our
 * own: the MongoDB wire protocol over SQLite.
 */
export const startTestMongodb: StartServer<Servers['mongodb']> = async (context) => {
  const own = process.env[OWN_SERVER];
  if (own !== undefined) return { value: { lease: databases(own), stop: () => Promise.resolve() } };
  const program = await buildFerretDb(context);
  if ('missing' in program) return { missing: `a MongoDB server: set ${OWN_SERVER}, or ${program.missing}` };

  const socket = join(context.dir, 'mongodb.sock');
  const stop = await startChildServer({
    program: program.value,
    args: [socket, context.dir],
    dir: context.dir,
    address: { path: socket },
  });
  return { value: { lease: databases(`mongodb://${encodeURIComponent(socket)}`), stop } };
};

function databases(url: string): () => string {
  let used = 0;
  return () => {
    used += 1;
    const [address, options] = url.split('?');
    return `${(address ?? '').replace(/\/$/, '')}/wormhole_test_${process.pid}_${used}${options === undefined ? '' : `?${options}`}`;
  };
}
