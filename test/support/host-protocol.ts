import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import type { Availability } from './availability.ts';
import type { ClusterFacts } from './cluster/facts.ts';

/** What the test files can ask the server host for, and what they get. */
export interface Servers {
  /** A PostgreSQL server, and a database on it with our schema and BullMQ's, to be used as a template only. */
  readonly postgres: {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly template: string;
  };
  /** The URL of a Redis database that nobody else was given. */
  readonly redis: string;
  /** The URL of a MongoDB database that nobody else was given. */
  readonly mongodb: string;
  /** A container engine, as DOCKER_HOST names it. */
  readonly docker: string;
  /** The id of this source tree's runner image, which that engine then has. */
  readonly runnerImage: string;
  /** A Kubernetes cluster that runs pods; every test file uses namespaces of its own. */
  readonly cluster: ClusterFacts & { readonly nodeAddress: string };
  /** A Kubernetes API server with controllers and scheduler, and no node: to ask, not to run. */
  readonly apiServer: ClusterFacts;
}

/** Environment variable with the path of the host's socket. */
export const HOST_SOCKET = 'WORMHOLE_TEST_HOST';

/** Asks the server host of this test run for a server; the first one who asks waits while it starts. */
export async function askHost<K extends keyof Servers>(server: K): Promise<Availability<Servers[K]>> {
  const socketPath = process.env[HOST_SOCKET];
  if (socketPath === undefined) throw new Error(`${HOST_SOCKET} is not set: run the tests with vitest`);
  const { status, body } = await post(socketPath, `/${server}`);
  if (status !== 200) throw new Error(`the test server "${server}" did not start: ${body}`);
  return JSON.parse(body) as Availability<Servers[K]>;
}

function post(socketPath: string, path: string): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path, method: 'POST' }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode, body }), reject);
    })
      .on('error', reject)
      .end();
  });
}
