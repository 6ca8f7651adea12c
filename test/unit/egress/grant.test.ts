import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  GRANT_MAX_BYTES,
  signGrant,
  verifyGrant,
  type EgressGrant,
} from '../../../controller/egress/grant.ts';
import { newRunId, tenantIdSchema } from '../../../controller/model/ids.ts';

const key = randomBytes(32);
const now = Date.now();
const grant: EgressGrant = {
  tenantId: tenantIdSchema.parse('acme'),
  runId: newRunId(),
  attempt: 1,
  policy: { mode: 'allowlist', allow: [{ host: 'api.example.com', ports: [443] }] },
  expiresAt: now + 60_000,
};

describe('an egress grant', () => {
  it('comes back as it was signed, and fits a header', () => {
    const token = signGrant(key, grant);
    expect(token).toMatch(/^[\w.-]+$/);
    expect(token.length).toBeLessThan(400);
    expect(verifyGrant(key, token, now)).toEqual(grant);
  });

  it('fits a header with the longest allowlist that a tenant may have', () => {
    const allow = Array.from({ length: 1000 }, (_, i) => ({
      host: `${randomBytes(8).toString('hex')}.service-${i}.example.com`,
      ports: [443, 8443],
    }));
    const token = signGrant(key, { ...grant, policy: { mode: 'allowlist', allow } });
    expect(token.length).toBeLessThan(GRANT_MAX_BYTES);
    expect(verifyGrant(key, token, now).policy.allow).toEqual(allow);
  });

  it('that would not fit is refused with the way out', () => {
    const allow = Array.from({ length: 1000 }, () => ({
      host: `${randomBytes(30).toString('hex')}.${randomBytes(30).toString('hex')}`,
      ports: [443],
    }));
    const sign = (): string => signGrant(key, { ...grant, policy: { mode: 'allowlist', allow } });
    expect(sign).toThrow(expect.objectContaining({ code: 'PAYLOAD_TOO_LARGE' }));
    expect(sign).toThrow(/"acme".*shorten/s);
  });

  it('ends with its time, to the millisecond', () => {
    const token = signGrant(key, grant);
    expect(verifyGrant(key, token, grant.expiresAt - 1).runId).toBe(grant.runId);
    for (const later of [grant.expiresAt, grant.expiresAt + 1]) {
      expect(() => verifyGrant(key, token, later)).toThrow(
        expect.objectContaining({ reason: 'GRANT_EXPIRED' }),
      );
    }
  });

  it('is worth nothing with any character changed, cut or added (property)', () => {
    const token = signGrant(key, grant);
    const alphabet = Array.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=');
    fc.assert(
      fc.property(
        fc.nat(token.length - 1),
        fc.constantFrom(...alphabet),
        fc.constantFrom(0, 1),
        (at, letter, cut) => {
          const forged = token.slice(0, at) + letter + token.slice(at + cut);
          // The last character of a MAC of 32 bytes has two bits that mean nothing.
          fc.pre(forged !== token && !(at === token.length - 1 && cut === 1));
          expect(() => verifyGrant(key, forged, now)).toThrow(
            expect.objectContaining({ reason: 'GRANT_INVALID' }),
          );
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('is worth nothing under another key', () => {
    const token = signGrant(randomBytes(32), grant);
    expect(() => verifyGrant(key, token, now)).toThrow(expect.objectContaining({ reason: 'GRANT_INVALID' }));
    for (const text of ['', '.', 'v1..', 'v1.e30.', `${token} `, `x${token}`]) {
      expect(() => verifyGrant(key, text, now)).toThrow(expect.objectContaining({ reason: 'GRANT_INVALID' }));
    }
  });

  it('is not signed with a short key', () => {
    expect(() => signGrant(Buffer.from('short'), grant)).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    );
  });
});
