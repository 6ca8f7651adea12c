import { setTimeout as delay } from 'node:timers/promises';
import { createLocalJWKSet, errors, type JWSHeaderParameters, type JWTVerifyGetKey } from 'jose';
import type { Logger } from 'pino';
import { z } from 'zod';
import { messageOf, WormholeError } from '../errors.ts';

/** The API server is asked at most this often, whatever the tokens say. */
const REFRESH_INTERVAL_MS = 2_000;
/** A key that the cluster withdraws is believed for this long at most, while the API server answers. */
const KEYS_MAX_AGE_MS = 10 * 60_000;

const discoverySchema = z.object({ issuer: z.string().min(1) });
const keysSchema = z.object({ keys: z.array(z.looseObject({ kty: z.string() })) });

/** What the API server publishes about its service account tokens. */
interface Published {
  readonly issuer: string;
  readonly find: JWTVerifyGetKey;
  /** `performance.now()`. */
  readonly fetchedAtMs: number;
}

export interface ClusterKeysOptions {
  /**
   * Fetches a path of the API server and parses its JSON; rejects on any status but 200. Every service account may read
   * both paths (the ClusterRole `system:service-account-issuer-discovery`).
   */
  readonly fetch: (path: '/.well-known/openid-configuration' | '/openid/v1/jwks') => Promise<unknown>;
  readonly log: Logger;
  /** @default 2000 */
  readonly refreshIntervalMs?: number;
}

/**
 * The issuer and the public keys of a cluster's service account tokens. Kept while the API server is away; fetched again
 * for a key id that is not known, and when they are old.
 */
export class ClusterKeys {
  readonly #options: ClusterKeysOptions;
  readonly #intervalMs: number;
  #published: Published | undefined;
  #askedAtMs = -Infinity;
  #refreshing: Promise<Published> | undefined;

  constructor(options: ClusterKeysOptions) {
    this.#options = options;
    this.#intervalMs = options.refreshIntervalMs ?? REFRESH_INTERVAL_MS;
  }

  /** @throws {WormholeError} IDENTITY_UNAVAILABLE if the API server has never answered, and does not now. */
  async issuer(): Promise<string> {
    return (await this.#current()).issuer;
  }

  /**
   * @returns the key that the header of a token names.
   * @throws {errors.JWKSNoMatchingKey} if the cluster has no such key.
   * @throws {WormholeError} IDENTITY_UNAVAILABLE if that cannot be told, because the API server does not answer.
   */
  readonly find: JWTVerifyGetKey = async (header, token) => {
    const known = await this.#current();
    try {
      return await known.find(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
    }
    return await (await this.#newerThan(known, header)).find(header, token);
  };

  async #current(): Promise<Published> {
    const known = this.#published;
    if (known === undefined) return await this.#refresh();
    if (performance.now() - known.fetchedAtMs > KEYS_MAX_AGE_MS) {
      // What fails is logged, and the old keys are kept.
      this.#refresh().catch(() => undefined);
    }
    return known;
  }

  /** Another token may have brought the new keys meanwhile. */
  async #newerThan(known: Published, header: JWSHeaderParameters): Promise<Published> {
    if (this.#published !== undefined && this.#published !== known) return this.#published;
    this.#options.log.debug({ keyId: header.kid }, 'a token names an unknown key of the cluster');
    return await this.#refresh();
  }

  /** Joins the fetch that is under way, and otherwise waits until the API server may be asked again. */
  async #refresh(): Promise<Published> {
    this.#refreshing ??= this.#fetch().finally(() => (this.#refreshing = undefined));
    return await this.#refreshing;
  }

  async #fetch(): Promise<Published> {
    const waitMs = this.#askedAtMs + this.#intervalMs - performance.now();
    if (waitMs > 0) await delay(waitMs);
    this.#askedAtMs = performance.now();
    try {
      const [discovery, keys] = await Promise.all([
        this.#options.fetch('/.well-known/openid-configuration'),
        this.#options.fetch('/openid/v1/jwks'),
      ]);
      const { issuer } = discoverySchema.parse(discovery);
      const find = createLocalJWKSet(keysSchema.parse(keys));
      return (this.#published = { issuer, find, fetchedAtMs: performance.now() });
    } catch (error) {
      this.#options.log.warn({ error: messageOf(error) }, 'the API server does not give its keys');
      throw new WormholeError(
        'IDENTITY_UNAVAILABLE',
        'the API server does not give its keys, so no pod can prove who it is; check that it can be reached, and ' +
          'that service accounts may read /openid/v1/jwks',
        { cause: error, retryAfterMs: this.#intervalMs },
      );
    }
  }
}
