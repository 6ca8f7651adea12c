import { createSocket } from 'node:dgram';
import { describe, expect, it, onTestFinished } from 'vitest';
import { DnsResolver } from '../../../controller/egress/resolver.ts';

const A = 1;
const AAAA = 28;

/** A name server on loopback that answers A and AAAA questions from a table, and others with NXDOMAIN. */
async function startDns(table: Record<string, { a?: number[][]; aaaa?: number[][] }>) {
  const asked: string[] = [];
  const socket = createSocket('udp4', (query, peer) => {
    let at = 12;
    const labels: string[] = [];
    for (let length = query[at]!; length > 0; length = query[at]!) {
      labels.push(query.toString('latin1', at + 1, at + 1 + length));
      at += 1 + length;
    }
    const type = query.readUInt16BE(at + 1);
    const name = labels.join('.');
    asked.push(`${name} ${type}`);
    const entry = table[name];
    const addresses = (type === A ? entry?.a : type === AAAA ? entry?.aaaa : undefined) ?? [];
    const header = Buffer.alloc(12);
    query.copy(header, 0, 0, 2);
    header.writeUInt16BE(0x8180 | (entry === undefined ? 3 : 0), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(addresses.length, 6);
    const answers = addresses.map((bytes) => {
      const fixed = Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 0, 0, bytes.length]);
      return Buffer.concat([fixed, Buffer.from(bytes)]);
    });
    socket.send(Buffer.concat([header, query.subarray(12, at + 5), ...answers]), peer.port, peer.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  onTestFinished(() => new Promise((resolve) => socket.close(() => resolve())));
  return { asked, resolver: new DnsResolver([`127.0.0.1:${socket.address().port}`]) };
}

describe('the DNS resolver', () => {
  it('gives all addresses of both families, IPv4 first', async () => {
    const { resolver } = await startDns({
      'both.example': {
        a: [
          [1, 1, 1, 1],
          [10, 0, 0, 1],
        ],
        aaaa: [[0x26, 6, ...Array<number>(13).fill(0), 1]],
      },
      'four.example': { a: [[8, 8, 8, 8]] },
      'six.example': { aaaa: [[0x26, 6, ...Array<number>(13).fill(0), 1]] },
    });
    expect(await resolver.resolve('both.example')).toEqual(['1.1.1.1', '10.0.0.1', '2606::1']);
    expect(await resolver.resolve('four.example')).toEqual(['8.8.8.8']);
    expect(await resolver.resolve('six.example')).toEqual(['2606::1']);
  });

  it('fails for names without an address', async () => {
    const { resolver } = await startDns({ 'empty.example': {} });
    await expect(resolver.resolve('empty.example')).rejects.toThrow(/no address/);
    await expect(resolver.resolve('nowhere.example')).rejects.toThrow(/no address/);
  });

  it('asks for the name itself and for nothing else', async () => {
    const { resolver, asked } = await startDns({});
    await expect(resolver.resolve('nowhere.example')).rejects.toThrow();
    expect(new Set(asked)).toEqual(new Set([`nowhere.example ${A}`, `nowhere.example ${AAAA}`]));
  });
});
