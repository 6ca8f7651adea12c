/**
 * The process that owns the servers of one test run. It starts a server when the first test file asks for it, and
 * stops all of them when its standard input ends: that is when the test run ends, however it ends. Then it also
 * removes what the tests left behind, and tells it on its standard output, a line each. It is in a session of its
 * own, so Ctrl-C ends it through its input only.
 * Usage: server-host.ts <folder of the run>
 */
import { mkdir, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { once } from 'node:events';
import { messageOf } from '../../controller/errors.ts';
import { defaultPaths } from '../../controller/setup/paths.ts';
import type { Availability } from './availability.ts';
import type { Servers } from './host-protocol.ts';
import { removeLeftovers } from './leftovers.ts';
import { startTestApiServer, startTestCluster } from './servers/cluster.ts';
import { startTestDocker, startTestRunnerImage } from './servers/docker.ts';
import { startTestMongodb } from './servers/mongodb.ts';
import { startTestPostgres } from './servers/postgres.ts';
import { startTestRedis } from './servers/redis.ts';
import type { StartServer, TestServer } from './servers/server.ts';

const STARTERS: { readonly [K in keyof Servers]: StartServer<Servers[K]> } = {
  postgres: startTestPostgres,
  redis: startTestRedis,
  mongodb: startTestMongodb,
  docker: startTestDocker,
  runnerImage: startTestRunnerImage,
  cluster: startTestCluster,
  apiServer: startTestApiServer,
};

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error('usage: server-host.ts <folder of the run>');
const { cacheDir } = defaultPaths(process.env, process.getuid?.() === 0);
const started = new Map<string, Promise<Availability<TestServer<unknown>>>>();

const host = createServer((request, response) => {
  lease((request.url ?? '').slice(1)).then(
    (answer) => response.writeHead(200).end(JSON.stringify(answer)),
    (error: unknown) => response.writeHead(500).end(messageOf(error)),
  );
});
host.listen(join(folder, 'host.sock'));
await once(host, 'listening');
process.stdout.write('ready\n');

process.stdin.resume();
await once(process.stdin, 'end');
host.close();
host.closeAllConnections();
const problems = [...(await removeLeftovers(folder, await dockerHost())), ...(await stopAll())];
await rm(folder, { recursive: true, force: true });
// Nobody reads it when the test run was interrupted.
process.stdout.on('error', () => undefined);
process.stdout.write(problems.map((problem) => `${problem}\n`).join(''));

async function lease(name: string): Promise<Availability<unknown>> {
  if (!isServer(name)) throw new Error(`there is no test server "${name}"`);
  let starting = started.get(name);
  if (starting === undefined) {
    starting = start(name);
    started.set(name, starting);
  }
  const server = await starting;
  return 'missing' in server ? server : { value: server.value.lease() };
}

function isServer(name: string): name is keyof Servers {
  return Object.hasOwn(STARTERS, name);
}

async function start(name: keyof Servers): Promise<Availability<TestServer<unknown>>> {
  const dir = join(folder as string, name);
  await mkdir(dir);
  return STARTERS[name]({ dir, cacheDir, log: (message) => process.stderr.write(`[${name}] ${message}\n`) });
}

/** @returns the container engine's address, if a test asked for one. */
async function dockerHost(): Promise<string | undefined> {
  if (!started.has('docker') && !started.has('runnerImage')) return undefined;
  const found = await lease('docker').catch(() => ({ missing: 'it did not start' }));
  return 'value' in found ? (found.value as Servers['docker']) : undefined;
}

/** @returns what went wrong. */
async function stopAll(): Promise<string[]> {
  const results = await Promise.allSettled(
    [...started].map(async ([name, starting]) => {
      // One that did not start has told those who asked for it.
      const server = await starting.catch(() => ({ missing: 'it did not start' }));
      if ('value' in server) await server.value.stop().catch((error: unknown) => fail(name, error));
    }),
  );
  return results.flatMap((result) => (result.status === 'rejected' ? [messageOf(result.reason)] : []));
}

function fail(name: string, cause: unknown): never {
  throw new Error(`the test server "${name}", which did not stop: ${messageOf(cause)}`, { cause });
}
