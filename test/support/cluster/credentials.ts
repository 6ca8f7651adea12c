import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from '../../../controller/setup/command.ts';
import type { Place } from './place.ts';

/** The one node. */
export const NODE_NAME = 'node-1';

const ADMIN = 'system:masters';
const USERS = {
  admin: { user: 'admin', group: ADMIN },
  'kube-controller-manager': { user: 'system:kube-controller-manager' },
  'kube-scheduler': { user: 'system:kube-scheduler' },
  kubelet: { user: `system:node:${NODE_NAME}`, group: 'system:nodes' },
  'kube-proxy': { user: 'system:kube-proxy' },
  'kube-router': { user: 'kube-router', group: ADMIN },
  kwok: { user: 'kwok', group: ADMIN },
} satisfies Record<string, { user: string; group?: string }>;

/** Who talks to the API server with a kubeconfig of the harness. */
export type ClusterUser = keyof typeof USERS;

/** Files by which the parts of one cluster know each other; made anew for every cluster. */
export interface Credentials {
  readonly authority: string;
  readonly apiServer: { readonly certificate: string; readonly key: string };
  /** By which etcd and the API server prove themselves to each other; etcd takes nobody else. */
  readonly etcd: { readonly certificate: string; readonly key: string };
  /** By which the API server proves itself to the kubelet. */
  readonly kubeletClient: { readonly certificate: string; readonly key: string };
  /** Signs service account tokens. */
  readonly serviceAccountKey: string;
  /** For the API server's `--token-auth-file`. */
  readonly tokens: string;
  kubeconfig(user: ClusterUser): string;
}

/**
 * Makes them in the cluster's folder.
 * @param makeCertificates - modules/certificates
 * @param server - the API server's URL.
 */
export async function makeCredentials(
  makeCertificates: string,
  place: Place,
  server: string,
): Promise<Credentials> {
  const at = (name: string): string => join(place.folder, name);
  const write = (name: string, content: string): string => {
    writeFileSync(at(name), content, { mode: 0o600 });
    return at(name);
  };
  await runCommand(makeCertificates, [place.folder, '127.0.0.1', place.hostAddress, place.apiService]);
  const authority = readFileSync(at('ca.crt')).toString('base64');
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  const lines = Object.entries<{ user: string; group?: string }>(USERS).map(([name, { user, group }]) => {
    const token = randomBytes(24).toString('base64url');
    write(`${name}.kubeconfig`, kubeconfig(server, authority, token));
    return `${token},${user},${name}${group === undefined ? '' : `,${group}`}\n`;
  });
  return {
    authority: at('ca.crt'),
    apiServer: { certificate: at('apiserver.crt'), key: at('apiserver.key') },
    etcd: { certificate: at('etcd.crt'), key: at('etcd.key') },
    kubeletClient: { certificate: at('kubelet-client.crt'), key: at('kubelet-client.key') },
    serviceAccountKey: write('service-account.key', privateKey),
    tokens: write('tokens.csv', lines.join('')),
    kubeconfig: (user) => at(`${user}.kubeconfig`),
  };
}

/** JSON is YAML. */
function kubeconfig(server: string, authority: string, token: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'wormhole-test',
    clusters: [{ name: 'wormhole-test', cluster: { server, 'certificate-authority-data': authority } }],
    users: [{ name: 'user', user: { token } }],
    contexts: [{ name: 'wormhole-test', context: { cluster: 'wormhole-test', user: 'user' } }],
  });
}
