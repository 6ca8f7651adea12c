import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  randomBytes,
  sign,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';
import { promisify } from 'node:util';
import { WormholeError } from '../errors.ts';
import { bits, implicit, integer, octets, oid, sequence, setOf, tagged, text, time, TRUE } from './der.ts';

/**
 * Certificates for the gateway: Node makes keys and signatures but no certificates, and the two that are needed here
 * (RFC 5280, EC P-256) are shorter to write down than to depend on.
 */

/** A certificate authority that is trusted for one purpose: the gateway. */
export interface Authority {
  /** PEM; public. */
  readonly cert: string;
  /** PEM (PKCS #8); secret. */
  readonly key: string;
}

/** What a server's certificate is for. At least one name or address. */
export interface ServerIdentity {
  /** DNS names, e.g. `wormhole-gateway.wormhole-system.svc`. */
  readonly names: readonly string[];
  /** IPv4 or IPv6 addresses. */
  readonly addresses: readonly string[];
  /** How long it is valid, from now on. */
  readonly days: number;
}

/** A server's certificate with its key and the authority that signed it, all PEM. Only `key` is secret. */
export interface ServerCertificate {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

const DAY_MS = 86_400_000;
/** The clock of whoever verifies may be behind. */
const BACKDATED_MS = 300_000;
const AUTHORITY_NAME = 'wormhole gateway authority';
const SERVER_NAME = 'wormhole gateway';

/** @returns a new authority, valid for `days`. */
export async function makeAuthority({ days }: { readonly days: number }): Promise<Authority> {
  const { publicKey, privateKey } = await newKeys();
  const cert = certificate(AUTHORITY_NAME, publicKey, days, { name: AUTHORITY_NAME, publicKey, privateKey }, [
    extension('2.5.29.19', sequence(TRUE, integer(0)), 'critical'), // an authority, of servers only
    extension('2.5.29.15', bits(Buffer.from([0b0000_0110]), 1), 'critical'), // keyCertSign, cRLSign
  ]);
  return { cert, key: pemOfKey(privateKey) };
}

/**
 * @returns a new key and its certificate, for TLS servers only.
 * @throws {WormholeError} CONFIG_INVALID for a name or an address that no certificate can hold.
 */
export async function issueServerCertificate(
  authority: Authority,
  { names, addresses, days }: ServerIdentity,
): Promise<ServerCertificate> {
  const alternatives = [...names.map(dnsName), ...addresses.map(ipAddress)];
  if (alternatives.length === 0) throw invalid('a certificate needs at least one name or address');
  const issuer = {
    name: AUTHORITY_NAME,
    publicKey: createPublicKey(authority.cert),
    privateKey: createPrivateKey(authority.key),
  };
  const { publicKey, privateKey } = await newKeys();
  const cert = certificate(SERVER_NAME, publicKey, days, issuer, [
    extension('2.5.29.19', sequence(), 'critical'), // not an authority
    extension('2.5.29.15', bits(Buffer.from([0b1000_0000]), 7), 'critical'), // digitalSignature
    extension('2.5.29.37', sequence(oid('1.3.6.1.5.5.7.3.1'))), // serverAuth
    extension('2.5.29.17', sequence(...alternatives)),
  ]);
  return { ca: authority.cert, cert, key: pemOfKey(privateKey) };
}

/** Makes an authority and one server's certificate, and forgets the authority's key: it can sign nothing else. */
export async function makeGatewayCertificate(server: ServerIdentity): Promise<ServerCertificate> {
  return await issueServerCertificate(await makeAuthority({ days: server.days }), server);
}

interface Issuer {
  readonly name: string;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

function certificate(
  name: string,
  publicKey: KeyObject,
  days: number,
  issuer: Issuer,
  extensions: readonly Buffer[],
): string {
  const now = Date.now();
  const ecdsaWithSha256 = sequence(oid('1.2.840.10045.4.3.2'));
  const serial = randomBytes(16);
  // Positive, and never a zero that DER would have to leave out.
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const body = sequence(
    tagged(0, integer(2)), // version 3
    integer(...serial),
    ecdsaWithSha256,
    distinguished(issuer.name),
    sequence(time(new Date(now - BACKDATED_MS)), time(new Date(now + days * DAY_MS))),
    distinguished(name),
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(
      3,
      sequence(
        ...extensions,
        extension('2.5.29.14', octets(keyIdentifier(publicKey))),
        extension('2.5.29.35', sequence(implicit(0, keyIdentifier(issuer.publicKey)))),
      ),
    ),
  );
  const signature = sign('sha256', body, issuer.privateKey);
  return new X509Certificate(sequence(body, ecdsaWithSha256, bits(signature))).toString();
}

const newKeys = (): Promise<{ publicKey: KeyObject; privateKey: KeyObject }> =>
  promisify(generateKeyPair)('ec', { namedCurve: 'P-256' });

const pemOfKey = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

/** RFC 7093 §2, method 4. */
const keyIdentifier = (key: KeyObject): Buffer =>
  createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest()
    .subarray(0, 20);

const distinguished = (commonName: string): Buffer =>
  sequence(setOf(sequence(oid('2.5.4.3'), text(commonName))));

const extension = (id: string, value: Buffer, critical?: 'critical'): Buffer =>
  sequence(oid(id), ...(critical === undefined ? [] : [TRUE]), octets(value));

function dnsName(name: string): Buffer {
  if (!/^(?:[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/.test(name)) {
    throw invalid(`"${name}" is not a DNS name in lower case`);
  }
  return implicit(2, Buffer.from(name));
}

function ipAddress(address: string): Buffer {
  if (isIPv4(address)) return implicit(7, Buffer.from(address.split('.').map(Number)));
  if (!isIPv6(address) || address.includes('%')) throw invalid(`"${address}" is not an IP address`);
  // The URL parser writes an IPv4 tail as hexadecimal too.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const [left, right] = [groups(head), groups(tail ?? '')];
  const all = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right];
  return implicit(7, Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex'));
}

const invalid = (message: string): WormholeError => new WormholeError('CONFIG_INVALID', message);
