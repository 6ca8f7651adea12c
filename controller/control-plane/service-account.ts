import { readFile } from 'node:fs/promises';
import { request } from 'node:https';
import { isIPv6 } from 'node:net';
import { json } from 'node:stream/consumers';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';

export interface ServiceAccount {
  /** The API server, as the kubelet tells every pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT. */
  readonly host: string;
  readonly port: number;
  /** The folder with `token` and `ca.crt`. */
  readonly folder: string;
}

const TIMEOUT_MS = 10_000;
const OK = 200;

/**
 * @returns what fetches a path of the API server as JSON, and rejects on any status but 200. The token is read at every
 *   request, because the kubelet rotates it.
 */
export const apiServerOf =
  ({ host, port, folder }: ServiceAccount) =>
  async (path: string): Promise<unknown> => {
    const [token, ca] = await Promise.all(
      ['token', 'ca.crt'].map((name) => readFile(join(folder, name), 'utf8')),
    );
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    request(
      new URL(path, `https://${isIPv6(host) ? `[${host}]` : host}:${port}`),
      {
        ca,
        headers: { authorization: `Bearer ${token?.trim() ?? ''}` },
        signal: AbortSignal.timeout(TIMEOUT_MS),
      },
      resolve,
    )
      .on('error', reject)
      .end();
    const response = await promise;
    if (response.statusCode === OK) return await json(response);
    response.resume();
    throw new Error(`GET ${path}: the API server answered with ${response.statusCode ?? 'nothing'}`);
  };
