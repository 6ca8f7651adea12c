import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { text } from 'node:stream/consumers';

const TIMEOUT_MS = 10_000;

/** What `makeCredentials` writes. */
interface OwnKubeconfig {
  readonly clusters: readonly [
    { readonly cluster: { readonly server: string; readonly 'certificate-authority-data': string } },
  ];
  readonly users: readonly [{ readonly user: { readonly token: string } }];
}

/**
 * Asks a cluster's API server; kubectl takes many times as long to start.
 * @param kubeconfig - path of one that the harness made.
 * @param patch - merged into the object at `path`; without it, it is read.
 * @returns the body of the answer.
 * @throws {Error} with the answer when it is not a success.
 */
export async function apiRequest(kubeconfig: string, path: string, patch?: object): Promise<string> {
  const { clusters, users } = JSON.parse(readFileSync(kubeconfig, 'utf8')) as OwnKubeconfig;
  const { server, 'certificate-authority-data': authority } = clusters[0].cluster;
  return await new Promise((resolve, reject) => {
    request(
      new URL(path, server),
      {
        method: patch === undefined ? 'GET' : 'PATCH',
        ca: Buffer.from(authority, 'base64'),
        headers: {
          authorization: `Bearer ${users[0].user.token}`,
          ...(patch === undefined ? {} : { 'content-type': 'application/merge-patch+json' }),
        },
        agent: false,
        signal: AbortSignal.timeout(TIMEOUT_MS),
      },
      (response) => {
        const status = response.statusCode ?? 0;
        text(response).then(
          (body) => (status < 300 ? resolve(body) : reject(new Error(`${path}: ${status} ${body}`))),
          reject,
        );
      },
    )
      .on('error', reject)
      .end(patch === undefined ? undefined : JSON.stringify(patch));
  });
}
