import { createHmac, timingSafeEqual } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { z } from 'zod';
import { WormholeError } from '../errors.ts';
import { runIdSchema, tenantIdSchema } from '../model/ids.ts';
import { egressPolicySchema } from '../model/tenant.ts';
import { EgressRefusal } from './reasons.ts';

const egressGrantSchema = z.strictObject({
  tenantId: tenantIdSchema,
  runId: runIdSchema,
  attempt: z.int().min(1),
  policy: egressPolicySchema,
  /** Milliseconds since the epoch. */
  expiresAt: z.int(),
});

/** What a run may reach, until when. The claim hands it out signed; the proxy believes nothing else. */
export type EgressGrant = z.infer<typeof egressGrantSchema>;

/** A signed grant travels in a header of every request, so it must fit beside the other headers. */
export const GRANT_MAX_BYTES = 48 * 1024;
const INFLATED_MAX_BYTES = 1024 * 1024;
const KEY_MIN_BYTES = 32;
const TOKEN = /^(v1\.[A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})$/;

function sign(key: Buffer, text: string): Buffer {
  if (key.length < KEY_MIN_BYTES) {
    throw new WormholeError(
      'CONFIG_INVALID',
      `the egress grant key has ${key.length} bytes; at least ${KEY_MIN_BYTES} random bytes are needed`,
    );
  }
  return createHmac('sha256', key).update(`wormhole-egress-grant ${text}`).digest();
}

/**
 * @param key at least 32 random bytes, shared by the gateway and the proxy.
 * @returns `v1.<grant>.<HMAC-SHA256>`, safe in a header.
 * @throws {WormholeError} PAYLOAD_TOO_LARGE if the tenant's allowlist makes it longer than `GRANT_MAX_BYTES`.
 */
export function signGrant(key: Buffer, grant: EgressGrant): string {
  const text = `v1.${deflateRawSync(JSON.stringify(grant)).toString('base64url')}`;
  const token = `${text}.${sign(key, text).toString('base64url')}`;
  if (token.length > GRANT_MAX_BYTES) {
    throw new WormholeError(
      'PAYLOAD_TOO_LARGE',
      `the egress grant of tenant "${grant.tenantId}" has ${token.length} bytes, more than ${GRANT_MAX_BYTES}; ` +
        `shorten its ${grant.policy.allow.length} egress rules, for example with "*." wildcards`,
    );
  }
  return token;
}

/**
 * @param now milliseconds since the epoch.
 * @returns the grant that was signed.
 * @throws {EgressRefusal} GRANT_INVALID or GRANT_EXPIRED if the token was not signed with `key`, or has expired.
 */
export function verifyGrant(key: Buffer, token: string, now: number): EgressGrant {
  const [, text, mac] = TOKEN.exec(token) ?? [];
  if (
    text === undefined ||
    mac === undefined ||
    !timingSafeEqual(sign(key, text), Buffer.from(mac, 'base64url'))
  ) {
    throw new EgressRefusal('GRANT_INVALID', 'the egress grant was not issued by this platform');
  }
  const json = inflateRawSync(Buffer.from(text.slice(3), 'base64url'), {
    maxOutputLength: INFLATED_MAX_BYTES,
  });
  const grant = egressGrantSchema.parse(JSON.parse(json.toString('utf8')));
  if (grant.expiresAt <= now) {
    throw new EgressRefusal('GRANT_EXPIRED', `the egress grant of run ${grant.runId} has expired`);
  }
  return grant;
}
