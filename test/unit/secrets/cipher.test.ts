import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tenantIdSchema } from '../../../controller/model/ids.ts';
import { KeyRing } from '../../../controller/secrets/cipher.ts';
import { openCredentials, sealCredentials } from '../../../controller/secrets/sealed.ts';

const newKey = (): string => randomBytes(32).toString('base64');
const keyInvalid = expect.objectContaining({
  name: 'WormholeError',
  code: 'ENCRYPTION_KEY_INVALID',
}) as unknown;

describe('a key ring', () => {
  it('opens what it sealed, and never seals the same twice (property)', () => {
    const ring = KeyRing.parse(`k1:${newKey()}`);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5000 }), fc.string(), (bytes, aad) => {
        const plaintext = Buffer.from(bytes);
        const sealed = ring.seal(plaintext, aad);
        expect(ring.open(sealed, aad).equals(plaintext)).toBe(true);
        expect(ring.seal(plaintext, aad).equals(sealed)).toBe(false);
        if (plaintext.length > 8) expect(sealed.includes(plaintext)).toBe(false);
      }),
    );
  });

  it('does not open what was changed in any bit, cut, or sealed for something else', () => {
    const ring = KeyRing.parse(`k1:${newKey()}`);
    const sealed = ring.seal('secret', 'owner');
    for (let bit = 0; bit < sealed.length * 8; bit += 1) {
      const changed = Buffer.from(sealed);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => ring.open(changed, 'owner'), `bit ${bit}`).toThrow(keyInvalid);
    }
    for (let length = 0; length < sealed.length; length += 1) {
      expect(() => ring.open(sealed.subarray(0, length), 'owner')).toThrow(keyInvalid);
    }
    expect(() => ring.open(sealed, 'another')).toThrow(keyInvalid);
  });

  it('seals with its first key and opens with every one', () => {
    const [a, b] = [`a:${newKey()}`, `b:${newKey()}`];
    const before = KeyRing.parse(a).seal('old', '');
    const rotated = KeyRing.parse(`${b}, ${a}`);
    expect(rotated.open(before, '').toString()).toBe('old');
    const after = rotated.seal('new', '');
    expect(KeyRing.parse(b).open(after, '').toString()).toBe('new');
    expect(() => KeyRing.parse(a).open(after, '')).toThrow(/"b", which is not in the key ring/);
  });

  it.each([
    ['', 'entry 1'],
    ['k1', 'entry 1'],
    [newKey(), 'entry 1'],
    ['bad id:x', 'entry 1'],
    [`k1:${newKey()},`, 'entry 2'],
    [`k1:${newKey()}:x`, 'entry 1'],
    [`k1:${randomBytes(16).toString('base64')}`, '"k1"'],
    [`k1:${randomBytes(33).toString('base64')}`, '"k1"'],
    [`k1:${newKey().slice(0, 40)}!!!=`, '"k1"'],
    [`k1:${newKey()},k1:${newKey()}`, 'twice'],
  ])('refuses %j and shows none of it', (text, message) => {
    let error: unknown;
    try {
      KeyRing.parse(text);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toEqual(keyInvalid);
    expect(String(error)).toContain(message);
    const shown = inspect(error, { depth: null, showHidden: true });
    for (const part of text.split(/[,:]/).filter((p) => p.length > 8)) expect(shown).not.toContain(part);
  });

  it('shows none of its keys when it is logged', () => {
    const bytes = randomBytes(32);
    const ring = KeyRing.parse(`k1:${bytes.toString('base64')}`);
    const shown = inspect(ring, { depth: null, showHidden: true }) + JSON.stringify(ring);
    for (const secret of [bytes.toString('base64'), bytes.toString('hex')])
      expect(shown).not.toContain(secret);
  });
});

describe('stored credentials', () => {
  const ring = KeyRing.parse(`k1:${newKey()}`);
  const credentials = { kind: 'BASIC', username: 'u', password: 'p' } as const;
  const acme = tenantIdSchema.parse('acme');

  it('open for their own connection and no other', () => {
    const sealed = sealCredentials(ring, { tenantId: acme, key: 'crm' }, credentials);
    expect(openCredentials(ring, { tenantId: acme, key: 'crm' }, sealed)).toEqual(credentials);
    for (const ref of [
      { tenantId: acme, key: 'erp' },
      { tenantId: tenantIdSchema.parse('globex'), key: 'crm' },
      { tenantId: tenantIdSchema.parse('acm'), key: 'ecrm' },
    ]) {
      expect(() => openCredentials(ring, ref, sealed)).toThrow(keyInvalid);
    }
  });
});
