import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isPublicAddress } from '../../../controller/egress/addresses.ts';

/** The ranges of the threat model, written a second time and checked by arithmetic instead of by BlockList. */
const IPV4: [first: string, last: string][] = [
  ['0.0.0.0', '0.255.255.255'],
  ['10.0.0.0', '10.255.255.255'],
  ['100.64.0.0', '100.127.255.255'],
  ['127.0.0.0', '127.255.255.255'],
  ['168.63.129.16', '168.63.129.16'],
  ['169.254.0.0', '169.254.255.255'],
  ['172.16.0.0', '172.31.255.255'],
  ['192.0.0.0', '192.0.0.255'],
  ['192.0.2.0', '192.0.2.255'],
  ['192.88.99.0', '192.88.99.255'],
  ['192.168.0.0', '192.168.255.255'],
  ['198.18.0.0', '198.19.255.255'],
  ['198.51.100.0', '198.51.100.255'],
  ['203.0.113.0', '203.0.113.255'],
  ['224.0.0.0', '255.255.255.255'],
];
const toNumber = (ip: string): number => ip.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
const toIpv4 = (n: number): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(n / 2 ** shift) % 256).join('.');
const isRefusedIpv4 = (n: number): boolean => IPV4.some(([a, b]) => n >= toNumber(a) && n <= toNumber(b));

/** Networks that must stay closed, of which the first is everything that is not global unicast. */
const IPV6_REFUSED = [
  ['::', 128],
  ['::1', 128],
  ['::', 96],
  ['::ffff:0:0', 96],
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['100::', 64],
  ['2001::', 32],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
  ['5f00::', 16],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
] as const;
const toBits = (ip: string): bigint => {
  const [head = '', tail = ''] = ip.split('::');
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'));
  const zeros = Array<string>(8 - groups(head).length - groups(tail).length).fill('0');
  return [...groups(head), ...zeros, ...groups(tail)].reduce((sum, g) => (sum << 16n) + BigInt(`0x${g}`), 0n);
};
const toIpv6 = (bits: bigint): string =>
  Array.from({ length: 8 }, (_, i) => ((bits >> BigInt(112 - 16 * i)) & 0xffffn).toString(16)).join(':');

describe('isPublicAddress', () => {
  it('agrees with arithmetic on every kind of IPv4 address', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (n) => {
        expect(isPublicAddress(toIpv4(n))).toBe(!isRefusedIpv4(n));
      }),
      { numRuns: 2000 },
    );
  });

  it.each(IPV4)('refuses %s to %s, and neither more nor less', (first, last) => {
    const [a, b] = [toNumber(first), toNumber(last)];
    for (const n of [a, b, Math.floor((a + b) / 2)])
      expect(isPublicAddress(toIpv4(n)), toIpv4(n)).toBe(false);
    for (const n of [a - 1, b + 1]) {
      if (n >= 0 && n < 2 ** 32) expect(isPublicAddress(toIpv4(n)), toIpv4(n)).toBe(!isRefusedIpv4(n));
    }
  });

  it.each(IPV6_REFUSED)('refuses all of %s/%i', (network, prefix) => {
    const host = fc.bigInt({ min: 0n, max: 2n ** BigInt(128 - prefix) - 1n });
    fc.assert(
      fc.property(host, (h) => !isPublicAddress(toIpv6(toBits(network) + h))),
      { numRuns: 300 },
    );
  });

  it('refuses every IPv4 address that is wrapped in an IPv6 one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (n) => {
        for (const prefix of ['::ffff:', '::', '64:ff9b::', '::ffff:0:']) {
          expect(isPublicAddress(`${prefix}${toIpv4(n)}`), `${prefix}${toIpv4(n)}`).toBe(false);
        }
      }),
    );
  });

  it('lets global unicast through', () => {
    for (const ip of [
      '2606:4700:4700::1111',
      '2a00:1450:4001:82a::200e',
      '2001:4860:4860::8888',
      '2003::1',
    ]) {
      expect(isPublicAddress(ip), ip).toBe(true);
    }
    for (const ip of ['1.1.1.1', '8.8.8.8', '172.15.255.255', '172.32.0.0', '100.128.0.0']) {
      expect(isPublicAddress(ip), ip).toBe(true);
    }
  });

  it.each([
    ['AWS, GCP, Azure, DigitalOcean, OpenStack', '169.254.169.254'],
    ['AWS ECS', '169.254.170.2'],
    ['AWS over IPv6', 'fd00:ec2::254'],
    ['GCP over IPv6', 'fd20:ce::254'],
    ['Azure WireServer', '168.63.129.16'],
    ['Alibaba', '100.100.100.200'],
    ['Oracle', '192.0.0.192'],
    ['Tencent', '169.254.0.23'],
    ['Scaleway', '169.254.42.42'],
  ])('refuses the metadata address of %s', (_cloud, ip) => {
    expect(isPublicAddress(ip)).toBe(false);
  });

  it('refuses what is not an address in the usual notation', () => {
    for (const text of [
      '',
      'example.com',
      '8.8.8.8.',
      '08.8.8.8',
      '134744072',
      '0x8.8.8.8',
      '[2606:4700::1]',
    ]) {
      expect(isPublicAddress(text), text).toBe(false);
    }
    expect(isPublicAddress('2606:4700::1%eth0')).toBe(false);
  });
});
