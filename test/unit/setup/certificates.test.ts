import { createPrivateKey, X509Certificate } from 'node:crypto';
import { connect, createServer, type TlsOptions } from 'node:tls';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  issueServerCertificate,
  makeAuthority,
  makeGatewayCertificate,
} from '../../../controller/setup/certificates.ts';
import { integer, octets, oid, time } from '../../../controller/setup/der.ts';

const DAY_MS = 86_400_000;
const server = {
  names: ['wormhole-gateway.wormhole-system.svc', 'localhost'],
  addresses: ['127.0.0.1', '::1'],
};

/** @returns null when a client that trusts `ca` accepts the server as `name`, otherwise why not. */
async function handshake(options: TlsOptions, ca: string, name: string): Promise<string | null> {
  const listener = createServer({ ...options, minVersion: 'TLSv1.3' }, (socket) => socket.end());
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const { port } = listener.address() as { port: number };
  try {
    return await new Promise((resolve) => {
      const client = connect({ host: '127.0.0.1', port, ca, servername: name }, () => resolve(null));
      client.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    });
  } finally {
    await new Promise((resolve) => listener.close(resolve));
  }
}

describe('a gateway certificate', () => {
  test('is signed by its authority, for the names and addresses that were asked for, and for as long', async () => {
    const made = await makeGatewayCertificate({ ...server, days: 90 });
    const [ca, cert] = [new X509Certificate(made.ca), new X509Certificate(made.cert)];
    expect(cert.verify(ca.publicKey)).toBe(true);
    expect(cert.checkIssued(ca)).toBe(true);
    expect(cert.checkPrivateKey(createPrivateKey(made.key))).toBe(true);
    expect([ca.ca, cert.ca]).toEqual([true, false]);
    expect(cert.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
    for (const name of server.names) expect(cert.checkHost(name)).toBe(name);
    for (const address of server.addresses) expect(cert.checkIP(address)).toBe(address);
    expect(cert.checkHost('wormhole-gateway')).toBeUndefined();
    expect(cert.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    const days = (Date.parse(cert.validTo) - Date.now()) / DAY_MS;
    expect(days).toBeGreaterThan(89.9);
    expect(days).toBeLessThanOrEqual(90);
  });

  test('is accepted over TLS under its name by who trusts its authority, and by nobody else', async () => {
    const made = await makeGatewayCertificate({ ...server, days: 1 });
    const options = { cert: made.cert, key: made.key };
    expect(await handshake(options, made.ca, 'localhost')).toBeNull();
    expect(await handshake(options, made.ca, 'other.example')).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
    const other = await makeAuthority({ days: 1 });
    expect(await handshake(options, other.cert, 'localhost')).toMatch(/UNABLE_TO_VERIFY|SIGNATURE_FAILURE/);
  });

  test('can be replaced by another of the same authority, which outlives the year 2050', async () => {
    const authority = await makeAuthority({ days: 20_000 });
    const [first, second] = [
      await issueServerCertificate(authority, { ...server, days: 10_000 }),
      await issueServerCertificate(authority, { ...server, days: 20_000 }),
    ];
    expect(first.key).not.toBe(second.key);
    expect(await handshake({ cert: second.cert, key: second.key }, first.ca, 'localhost')).toBeNull();
    expect(new Date(new X509Certificate(second.cert).validTo).getFullYear()).toBeGreaterThan(2050);
  });

  test('holds any IPv6 address', async () => {
    const authority = await makeAuthority({ days: 1 });
    await fc.assert(
      fc.asyncProperty(fc.ipV6(), async (address) => {
        const { cert } = await issueServerCertificate(authority, {
          names: [],
          addresses: [address],
          days: 1,
        });
        expect(new X509Certificate(cert).checkIP(address)).toBe(address);
      }),
      { numRuns: 100 },
    );
  });

  test.each([
    ['nothing', { names: [], addresses: [] }],
    ['a name that is none', { names: ['a b'], addresses: [] }],
    ['a name in upper case', { names: ['Gateway'], addresses: [] }],
    ['an address that is none', { names: [], addresses: ['10.0.0'] }],
    ['an address with a zone', { names: [], addresses: ['fe80::1%eth0'] }],
  ])('is refused for %s', async (_what, wrong) => {
    await expect(makeGatewayCertificate({ ...wrong, days: 1 })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });
});

test('DER lengths, numbers, identifiers and times are those of X.690', () => {
  expect(octets(Buffer.alloc(127)).subarray(0, 2)).toEqual(Buffer.from([0x04, 0x7f]));
  expect(octets(Buffer.alloc(128)).subarray(0, 3)).toEqual(Buffer.from([0x04, 0x81, 0x80]));
  expect(octets(Buffer.alloc(256)).subarray(0, 4)).toEqual(Buffer.from([0x04, 0x82, 0x01, 0x00]));
  expect(octets(Buffer.alloc(70_000)).subarray(0, 5)).toEqual(Buffer.from([0x04, 0x83, 0x01, 0x11, 0x70]));
  expect(integer(0x80)).toEqual(Buffer.from([0x02, 0x02, 0x00, 0x80]));
  expect(oid('1.2.840.10045.4.3.2').toString('hex')).toBe('06082a8648ce3d040302');
  expect(time(new Date('2049-12-31T23:59:59Z')).toString('latin1')).toContain('491231235959Z');
  expect(time(new Date('2050-01-01T00:00:00Z')).toString('latin1')).toContain('20500101000000Z');
});
