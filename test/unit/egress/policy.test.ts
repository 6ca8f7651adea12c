import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { internalServiceSchema } from '../../../controller/egress/internal-service.ts';
import { decide, type PolicyReason } from '../../../controller/egress/policy.ts';
import { egressPolicySchema, type EgressPolicy } from '../../../controller/model/tenant.ts';

const allowlist: EgressPolicy = egressPolicySchema.parse({
  mode: 'allowlist',
  allow: [
    { host: 'api.example.com' },
    { host: '*.wild.example.com', ports: [443, 8443] },
    { host: 'xn--bcher-kva.example' },
    { host: 'crm.internal', ports: [80] },
    { host: 'other.internal', ports: [80] },
    { host: '0x7f.1', ports: [443] },
  ],
});
const unrestricted: EgressPolicy = { mode: 'unrestricted', allow: [] };
const services = [{ host: 'crm.internal', port: 80, address: '127.0.0.1', targetPort: 9000 }];

const reasonOf = (policy: EgressPolicy, host: string, port = 443): PolicyReason | 'ALLOWED' => {
  const decision = decide(policy, host, port, services);
  return decision.allowed ? 'ALLOWED' : decision.reason;
};

describe('a host', () => {
  it.each([
    'api.example.com',
    'API.Example.COM',
    'api.example.com.',
    'aPi.exAmple.com.',
    'ａｐｉ.example.com',
    'api。example．com',
    'bücher.example',
    'BÜCHER.example',
    'xn--bcher-kva.example',
  ])('%s is the one that the allowlist names', (host) => {
    expect(reasonOf(allowlist, host)).toBe('ALLOWED');
  });

  it.each([
    '',
    '.',
    'api.example.com..',
    '.api.example.com',
    'api..example.com',
    'api.example.com:443',
    'api.example.com/',
    'api.example.com#x',
    'api.example.com?x',
    'user@api.example.com',
    'api%2eexample.com',
    'api.example.com\\evil',
    'api.example.com\0',
    ' api.example.com',
    'api.exa\u00admple.com',
    'api.example.com\r\nHost: x',
    '[api.example.com]',
    '[::1',
    '::1]',
    '[::1%25eth0]',
    'fe80::1%eth0',
    '℀.example',
    `${'a'.repeat(64)}.example.com`,
    `${'a.'.repeat(127)}example.com`,
    '1.2.3.4.5',
    '256.256.256.256',
    '1.2.3.09',
  ])('%j is none', (host) => {
    expect(reasonOf(unrestricted, host)).toBe('HOST_INVALID');
  });

  it('never throws, and is normalised the same way twice', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.domain(), fc.ipV4(), fc.ipV6()),
        (host) => {
          const { host: once } = decide(unrestricted, host, 443, []);
          if (once !== null) expect(decide(unrestricted, once, 443, []).host).toBe(once);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('an allowlist', () => {
  it('refuses hosts that it does not name, and other ports of those it does', () => {
    expect(reasonOf(allowlist, 'evil.example.com')).toBe('HOST_NOT_ALLOWED');
    expect(reasonOf(allowlist, 'example.com')).toBe('HOST_NOT_ALLOWED');
    expect(reasonOf(allowlist, 'xapi.example.com')).toBe('HOST_NOT_ALLOWED');
    expect(reasonOf(allowlist, 'api.example.com.evil.net')).toBe('HOST_NOT_ALLOWED');
    expect(reasonOf(allowlist, 'api.example.com', 80)).toBe('PORT_NOT_ALLOWED');
  });

  it('covers every depth below a wildcard, but not its apex', () => {
    expect(reasonOf(allowlist, 'a.wild.example.com', 8443)).toBe('ALLOWED');
    expect(reasonOf(allowlist, 'a.b.c.wild.example.com')).toBe('ALLOWED');
    expect(reasonOf(allowlist, 'wild.example.com')).toBe('HOST_NOT_ALLOWED');
    expect(reasonOf(allowlist, 'notwild.example.com')).toBe('HOST_NOT_ALLOWED');
  });

  it.each([
    '127.0.0.1',
    '8.8.8.8',
    '127.1',
    '2130706433',
    '0x7f000001',
    '0x7f.1',
    '0177.0.0.1',
    '017700000001',
    '127.0.0.1.',
    '１２７.0.0.1',
    '[::1]',
    '::1',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[2606:4700:4700::1111]',
  ])('never matches the address %s', (host) => {
    expect(reasonOf(allowlist, host)).toBe('ADDRESS_LITERAL');
  });

  it('lets no name through that equals none of its rules (property)', () => {
    const near = fc
      .tuple(
        fc.constantFrom('', 'x', 'x.', 'a.b.', '.'),
        fc.constantFrom(...allowlist.allow),
        fc.constantFrom('', '.x', 'x'),
      )
      .map(([before, rule, after]) => `${before}${rule.host.replace('*.', '')}${after}`);
    fc.assert(
      fc.property(fc.oneof(near, fc.domain()), fc.constantFrom(80, 443, 8443), (host, port) => {
        const rules = allowlist.allow.filter((rule) => rule.ports.includes(port));
        const isNamed = rules.some(({ host: h }) =>
          h.startsWith('*.') ? host.endsWith(h.slice(1)) : h === host,
        );
        if (!isNamed) expect(decide(allowlist, host, port, services).allowed).toBe(false);
      }),
      { numRuns: 500 },
    );
  });
});

describe('the other modes', () => {
  it('"deny" refuses everything, whatever else is declared', () => {
    const deny: EgressPolicy = { ...allowlist, mode: 'deny' };
    for (const host of ['api.example.com', 'crm.internal', '8.8.8.8']) {
      expect(reasonOf(deny, host, 80)).toBe('EGRESS_DISABLED');
    }
  });

  it('"unrestricted" reaches public names and addresses on every port', () => {
    for (const host of ['evil.example.com', '8.8.8.8', '[2606:4700:4700::1111]']) {
      expect(reasonOf(unrestricted, host, 25)).toBe('ALLOWED');
    }
  });

  it.each([
    '127.0.0.1',
    '127.1',
    '0x7f.1',
    '2130706433',
    '10.0.0.1',
    '[::1]',
    '[::ffff:8.8.8.8]',
    '169.254.169.254',
  ])('"unrestricted" refuses the address %s', (host) => {
    expect(reasonOf(unrestricted, host)).toBe('ADDRESS_NOT_PUBLIC');
  });

  it.each([
    'localhost',
    'LOCALHOST.',
    'x.localhost',
    'metadata',
    'metadata.google.internal',
    'metadata.goog',
    'a.local',
  ])('"unrestricted" refuses the name %s without resolving it', (host) => {
    expect(reasonOf(unrestricted, host)).toBe('NAME_NOT_PUBLIC');
  });
});

describe('an internal service', () => {
  it("is reached at its address when the tenant's allowlist names it", () => {
    expect(decide(allowlist, 'CRM.internal.', 80, services)).toEqual({
      allowed: true,
      host: 'crm.internal',
      route: { kind: 'internal', host: 'crm.internal', address: '127.0.0.1', port: 9000 },
    });
  });

  it('is refused without a rule, in every mode', () => {
    const bare: EgressPolicy = { mode: 'allowlist', allow: [] };
    expect(reasonOf(bare, 'crm.internal', 80)).toBe('HOST_NOT_ALLOWED');
    expect(reasonOf(unrestricted, 'crm.internal', 80)).toBe('NAME_NOT_PUBLIC');
  });

  it('is not declared by a tenant: a rule alone opens nothing private', () => {
    expect(reasonOf(allowlist, 'other.internal', 80)).toBe('NAME_NOT_PUBLIC');
    expect(reasonOf({ ...allowlist, mode: 'unrestricted' }, 'crm.internal', 81)).toBe('NAME_NOT_PUBLIC');
  });

  it('must be declared by a normalised name and an address', () => {
    const good = { host: 'crm.internal', port: 80, address: '10.0.0.5', targetPort: 8080 };
    expect(internalServiceSchema.parse(good)).toEqual(good);
    for (const wrong of [
      { host: 'CRM.internal' },
      { host: '10.0.0.5' },
      { address: 'crm' },
      { port: 0 },
      { x: 1 },
    ]) {
      expect(internalServiceSchema.safeParse({ ...good, ...wrong }).success, JSON.stringify(wrong)).toBe(
        false,
      );
    }
  });
});
