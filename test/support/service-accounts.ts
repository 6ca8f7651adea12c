import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';
import type { AttemptRef } from '../../controller/model/ids.ts';
import type { PodRules } from '../../controller/gateway/pod-identity.ts';

export const ISSUER = 'https://kubernetes.default.svc.cluster.local';
export const POD_RULES: PodRules = {
  audience: 'wormhole-gateway',
  serviceAccount: 'wormhole-runner',
  tenantNamespacePrefix: 'wormhole-run',
};

interface SigningKey {
  readonly kid: string;
  readonly jwk: JWK;
  readonly privateKey: CryptoKey;
}

/** A pod as its token names it, and what else may be wrong with the token. */
export interface PodToken extends AttemptRef {
  readonly tenantId: string;
  readonly uid: string;
  /** Claims and header parameters that replace the usual ones. */
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly header?: Readonly<Record<string, unknown>>;
  /** Seconds from now. @default 600 */
  readonly expiresInS?: number;
}

/** The part of an API server that signs service account tokens and publishes its keys. */
export class ServiceAccounts {
  /** Paths that were fetched. */
  readonly fetched: string[] = [];
  /** Whether it answers. */
  up = true;
  #keys: SigningKey[] = [];
  readonly #alg: string;

  private constructor(alg: string) {
    this.#alg = alg;
  }

  /** @param alg how it signs: RS256 as by default, or ES256. */
  static async start(alg = 'RS256'): Promise<ServiceAccounts> {
    const accounts = new ServiceAccounts(alg);
    await accounts.rotate();
    return accounts;
  }

  /** Signs with a new key from now on. @param options.forget withdraws the old ones. */
  async rotate({ forget = false } = {}): Promise<void> {
    const { publicKey, privateKey } = await generateKeyPair(this.#alg, { extractable: true });
    const jwk = await exportJWK(publicKey);
    const kid = await calculateJwkThumbprint(jwk);
    this.#keys = [
      { kid, jwk: { ...jwk, kid, alg: this.#alg, use: 'sig' }, privateKey },
      ...(forget ? [] : this.#keys),
    ];
  }

  /** The key that signs now. */
  get signing(): SigningKey {
    return this.#keys[0]!;
  }

  readonly fetch = (path: string): Promise<unknown> => {
    this.fetched.push(path);
    if (!this.up) return Promise.reject(new Error('connect ECONNREFUSED'));
    return Promise.resolve(
      path === '/openid/v1/jwks'
        ? { keys: this.#keys.map(({ jwk }) => jwk) }
        : { issuer: ISSUER, jwks_uri: 'x' },
    );
  };

  /** @returns a token as the kubelet projects it into the pod of an attempt. */
  async token(pod: PodToken): Promise<string> {
    const { kid, privateKey } = this.signing;
    return await new SignJWT(podClaims(pod))
      .setProtectedHeader({ alg: this.#alg, kid, ...pod.header })
      .sign(privateKey);
  }
}

/** @returns what the API server signs for the pod of an attempt. */
export function podClaims(pod: PodToken): Record<string, unknown> {
  const now = Math.floor(Date.now() / 1000);
  const namespace = `wormhole-run-${pod.tenantId}`;
  return {
    iss: ISSUER,
    aud: ['wormhole-gateway'],
    sub: `system:serviceaccount:${namespace}:wormhole-runner`,
    iat: now - 1,
    nbf: now - 1,
    exp: now + (pod.expiresInS ?? 600),
    jti: pod.uid,
    'kubernetes.io': {
      namespace,
      node: { name: 'node', uid: 'node-uid' },
      pod: { name: `run-${pod.runId}-${pod.attempt}-x7k2p`, uid: pod.uid },
      serviceaccount: { name: 'wormhole-runner', uid: 'account-uid' },
    },
    ...pod.claims,
  };
}
