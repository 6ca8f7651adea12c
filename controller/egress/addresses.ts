import { BlockList, isIPv4, isIPv6 } from 'node:net';

/**
 * IPv4 that no run may reach: what the IANA special-purpose registry (RFC 6890) marks as not globally reachable,
 * multicast, and metadata addresses that lie in public space.
 */
const REFUSED_IPV4: readonly (readonly [network: string, prefix: number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['168.63.129.16', 32], // Azure's WireServer, the one metadata address that looks public
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
];

/**
 * Only global unicast (RFC 4291) is public: so loopback, unique local, link-local, multicast, IPv4-mapped,
 * IPv4-compatible and both NAT64 prefixes are refused without being named.
 */
const GLOBAL_UNICAST_IPV6: readonly [network: string, prefix: number] = ['2000::', 3];

/** Parts of global unicast that are refused: protocol assignments with Teredo and ORCHID, documentation, 6to4. */
const REFUSED_IPV6: readonly (readonly [network: string, prefix: number])[] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
];

// One list a family: BlockList matches IPv4 addresses against IPv6 networks through their mapped form.
const refusedIpv4 = new BlockList();
for (const [network, prefix] of REFUSED_IPV4) refusedIpv4.addSubnet(network, prefix, 'ipv4');
const globalIpv6 = new BlockList();
globalIpv6.addSubnet(...GLOBAL_UNICAST_IPV6, 'ipv6');
const refusedIpv6 = new BlockList();
for (const [network, prefix] of REFUSED_IPV6) refusedIpv6.addSubnet(network, prefix, 'ipv6');

/**
 * @param ip an address in the usual notation of its family; anything else is not public.
 * @returns whether a run may connect to it: public unicast, and no cloud's metadata service.
 */
export function isPublicAddress(ip: string): boolean {
  if (isIPv4(ip)) return !refusedIpv4.check(ip, 'ipv4');
  if (!isIPv6(ip) || ip.includes('%')) return false;
  return globalIpv6.check(ip, 'ipv6') && !refusedIpv6.check(ip, 'ipv6');
}
