import { isIPv4, isIPv6 } from 'node:net';

/** A host as everybody must see it: a lower-case ASCII name without a trailing dot, or a canonical address. */
export type Host =
  { readonly kind: 'name'; readonly text: string } | { readonly kind: 'address'; readonly text: string };

const NAME =
  /^(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
const AUTHORITY = /^(?<host>\[[0-9A-Fa-f:.]+\]|[^[\]:]+)(?::(?<port>[0-9]{1,5}))?$/;

/**
 * Brings a host to the one form in which it is compared, resolved and logged: case, one trailing dot, brackets,
 * internationalised names (to punycode), and every notation of an IPv4 address that resolvers accept
 * (`2130706433`, `0x7f.1`, `0177.0.0.1`, as in the WHATWG URL standard).
 * @returns null if it is not a host.
 */
export function parseHost(raw: string): Host | null {
  const unbracketed = /^\[(.*)\]$/.exec(raw)?.[1] ?? raw;
  if (unbracketed.includes(':')) {
    if (!isIPv6(unbracketed) || unbracketed.includes('%')) return null;
    return { kind: 'address', text: new URL(`http://[${unbracketed}]/`).hostname.slice(1, -1) };
  }
  // What a URL treats as a delimiter or decodes must not get as far as the URL parser.
  if (unbracketed !== raw || /[^\p{L}\p{M}\p{N}\p{S}._\-\u3002\uff0e\uff61]/u.test(raw)) return null;
  if (!URL.canParse(`http://${raw}/`)) return null;
  const text = new URL(`http://${raw}/`).hostname.replace(/\.$/, '');
  if (isIPv4(text)) return { kind: 'address', text };
  return NAME.test(text) ? { kind: 'name', text } : null;
}

/**
 * Splits `host`, `host:port` or `[address]:port` (RFC 3986, without user information).
 * @returns the host as written and the port, or null if it is neither of these or the port is not 1 to 65535.
 */
export function parseAuthority(text: string): { readonly host: string; readonly port: number | null } | null {
  const groups = AUTHORITY.exec(text)?.groups;
  if (groups?.['host'] === undefined) return null;
  const port = groups['port'] === undefined ? null : Number(groups['port']);
  if (port !== null && (port < 1 || port > 65_535)) return null;
  return { host: groups['host'], port };
}
