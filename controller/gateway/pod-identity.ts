import { errors, jwtVerify, type JWTPayload } from 'jose';
import { z } from 'zod';
import { WormholeError } from '../errors.ts';
import { runIdSchema, tenantIdSchema } from '../model/ids.ts';
import type { ClusterKeys } from './cluster-keys.ts';
import type { PodIdentity } from './identity.ts';
import { hashToken } from './tokens.ts';

/** What a run's pod must be, beside genuine. */
export interface PodRules {
  /** The audience that its token must have, and no other, e.g. `wormhole-gateway`. */
  readonly audience: string;
  /** The name of its service account, e.g. `wormhole-runner`. */
  readonly serviceAccount: string;
  /** A tenant's namespace is `<prefix>-<tenant id>`. */
  readonly tenantNamespacePrefix: string;
}

/** The API server signs with one of these; a symmetric algorithm or none is never a signature of it. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512'];
const CLOCK_TOLERANCE_S = 5;
/** Longer than any projected token. */
const TOKEN_MAX_LENGTH = 8192;
/** Tokens that were verified and have not expired: two a pod, while one is being rotated. */
const REMEMBERED_TOKENS = 20_000;

/** `run-<run id>-<attempt>-<suffix>`: what the Job controller makes of a Job's name. */
const POD_NAME = /^run-([0-9a-f-]{36})-([1-9]\d{0,8})-[a-z0-9]{5}$/;

/** The claims of a token that is bound to a pod (KEP-1205). */
const claimsSchema = z.object({
  exp: z.number(),
  sub: z.string(),
  'kubernetes.io': z.object({
    namespace: z.string(),
    pod: z.object({ name: z.string(), uid: z.string().min(1).max(128) }),
    serviceaccount: z.object({ name: z.string() }),
  }),
});

/** Verifies projected service account tokens without asking the API server about each. */
export class PodIdentities {
  readonly #keys: ClusterKeys;
  readonly #rules: PodRules;
  /** By the token's hash, the oldest first. */
  readonly #verified = new Map<string, { readonly identity: PodIdentity; readonly untilMs: number }>();

  constructor(keys: ClusterKeys, rules: PodRules) {
    this.#keys = keys;
    this.#rules = rules;
  }

  /**
   * @param token a service account token; it appears in no message and no log.
   * @returns whose it is: genuine, unexpired, for us, bound to a pod that is named and placed like one of a run.
   * @throws {WormholeError} TOKEN_REFUSED, with which of this does not hold; IDENTITY_UNAVAILABLE.
   */
  async verify(token: string): Promise<PodIdentity> {
    if (token.length > TOKEN_MAX_LENGTH) throw refused(`it is longer than ${TOKEN_MAX_LENGTH} characters`);
    const hash = hashToken(token).toString('base64');
    const known = this.#verified.get(hash);
    if (known !== undefined && known.untilMs > Date.now()) return known.identity;
    const claims = await this.#genuine(token);
    const identity = podOf(claims, this.#rules);
    this.#remember(hash, identity, claims.exp * 1000);
    return identity;
  }

  async #genuine(token: string): Promise<z.infer<typeof claimsSchema>> {
    let payload: JWTPayload;
    try {
      ({ payload } = await jwtVerify(
        token,
        (header, jws) => {
          if (header.kid === undefined) throw refused('it does not name its key');
          return this.#keys.find(header, jws);
        },
        {
          algorithms: ALGORITHMS,
          issuer: await this.#keys.issuer(),
          audience: this.#rules.audience,
          clockTolerance: CLOCK_TOLERANCE_S,
          requiredClaims: ['exp', 'iat', 'sub'],
        },
      ));
    } catch (error) {
      // The library's messages are fixed texts, about claims by name.
      if (error instanceof errors.JOSEError) throw refused(error.message);
      throw error;
    }
    if (Array.isArray(payload.aud) && payload.aud.length !== 1) {
      throw refused(`it is for others than "${this.#rules.audience}" too`);
    }
    const claims = claimsSchema.safeParse(payload);
    if (!claims.success) throw refused('it is not a service account token that is bound to a pod');
    return claims.data;
  }

  #remember(hash: string, identity: PodIdentity, untilMs: number): void {
    const now = Date.now();
    for (const [oldest, { untilMs: until }] of this.#verified) {
      if (until > now && this.#verified.size < REMEMBERED_TOKENS) break;
      this.#verified.delete(oldest);
    }
    this.#verified.set(hash, { identity, untilMs });
  }
}

/** @throws {WormholeError} TOKEN_REFUSED. */
function podOf(claims: z.infer<typeof claimsSchema>, rules: PodRules): PodIdentity {
  const { namespace, pod, serviceaccount } = claims['kubernetes.io'];
  const account = `system:serviceaccount:${namespace}:${rules.serviceAccount}`;
  if (serviceaccount.name !== rules.serviceAccount || claims.sub !== account) {
    throw refused(`it belongs to another service account than "${rules.serviceAccount}"`);
  }
  const prefix = `${rules.tenantNamespacePrefix}-`;
  const tenantId = tenantIdSchema.safeParse(
    namespace.startsWith(prefix) ? namespace.slice(prefix.length) : undefined,
  );
  if (!tenantId.success) throw refused(`its namespace is not a tenant's: "${prefix}<tenant id>"`);
  const [, run, attempt] = POD_NAME.exec(pod.name) ?? [];
  const runId = runIdSchema.safeParse(run);
  if (!runId.success) throw refused('its pod is not one of a run: "run-<run id>-<attempt>-<suffix>"');
  return { runId: runId.data, attempt: Number(attempt), tenantId: tenantId.data, podUid: pod.uid };
}

const refused = (why: string): WormholeError =>
  new WormholeError('TOKEN_REFUSED', `the pod's service account token is refused: ${why}`);
