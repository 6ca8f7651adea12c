import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { startTcp } from './far-side.ts';
import { readAll, readUntil, startProxy, type ProxyUnderTest } from './proxy-under-test.ts';

const service = (port: number) => ({
  host: 'crm.internal',
  port: 443,
  address: '127.0.0.1',
  targetPort: port,
});
const ESTABLISHED = 'HTTP/1.1 200 Connection Established\r\n\r\n';
const connectLine = (under: ProxyUnderTest): string =>
  `CONNECT crm.internal:443 HTTP/1.1\r\nHost: crm.internal:443\r\n${under.authorization()}\r\n`;

const openTunnel = async (under: ProxyUnderTest): Promise<Socket> => {
  const client = await under.connect();
  client.write(connectLine(under));
  expect(await readUntil(client, '\r\n\r\n')).toBe(ESTABLISHED);
  return client;
};

describe('a tunnel', () => {
  it('carries bytes as they are, both ways', async () => {
    const far = await startTcp((socket) => void socket.pipe(socket));
    const under = await startProxy({ services: [service(far.port)] });
    const client = await openTunnel(under);
    const bytes = randomBytes(8 * 1024 * 1024);
    const back = createHash('sha256');
    let count = 0;
    client.on('data', (chunk: Buffer) => {
      back.update(chunk);
      count += chunk.length;
    });
    client.end(bytes);
    await once(client, 'close');
    expect(count).toBe(bytes.length);
    expect(back.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'));
    expect(under.records).toMatchObject([
      {
        method: 'CONNECT',
        host: 'crm.internal',
        port: 443,
        allowed: true,
        reason: null,
        address: '127.0.0.1',
      },
    ]);
  });

  it('carries what the run sent before the answer', async () => {
    const far = await startTcp((socket) => void socket.pipe(socket));
    const under = await startProxy({ services: [service(far.port)] });
    const client = await under.connect();
    client.write(`${connectLine(under)}early`);
    expect(await readUntil(client, 'early')).toBe(`${ESTABLISHED}early`);
  });

  it('lets the run end its half and still hear the answer', async () => {
    const far = await startTcp((socket) => {
      socket.resume().once('end', () => socket.end('after the end'));
    });
    const under = await startProxy({ services: [service(far.port)] });
    const client = await openTunnel(under);
    client.end();
    expect(await readAll(client)).toBe('after the end');
  });

  it('lets the far side end its half and still be told', async () => {
    let heard = '';
    const far = await startTcp((socket) => {
      socket.end('bye').on('data', (chunk) => (heard += chunk.toString()));
    });
    const under = await startProxy({ services: [service(far.port)] });
    const client = await under.connect();
    client.write(connectLine(under));
    await readUntil(client, 'bye');
    client.end('last words');
    await expect.poll(() => heard).toBe('last words');
  });

  it.each(['run', 'far side'])('ends when the %s breaks off', async (side) => {
    const sockets: Socket[] = [];
    const far = await startTcp((socket) => void sockets.push(socket.resume()));
    const under = await startProxy({ services: [service(far.port)] });
    const client = await openTunnel(under);
    await expect.poll(() => sockets.length).toBe(1);
    const farSocket = sockets[0]!;
    if (side === 'run') {
      const ended = once(farSocket, 'end');
      client.destroy();
      await ended;
    } else {
      const closed = once(client, 'close');
      client.resume();
      farSocket.resetAndDestroy();
      await closed;
    }
  });

  it('ends when nothing moves, but not while anything does', async () => {
    const far = await startTcp((socket) => void socket.pipe(socket));
    const under = await startProxy({ services: [service(far.port)], limits: { idleTimeoutMs: 300 } });
    const client = await openTunnel(under);
    for (let i = 0; i < 6; i += 1) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      client.write('x');
      await readUntil(client, 'x');
    }
    const quietSince = performance.now();
    await once(client, 'close');
    expect(performance.now() - quietSince).toBeGreaterThan(200);
  });

  it('ends with its total time, or with its grant', async () => {
    const far = await startTcp((socket) => void socket.pipe(socket));
    const short = await startProxy({ services: [service(far.port)], limits: { totalTimeoutMs: 200 } });
    await once(await openTunnel(short), 'close');
    const under = await startProxy({ services: [service(far.port)] });
    const client = await under.connect();
    const authorization = under.authorization({ expiresAt: Date.now() + 300 });
    client.write(`CONNECT crm.internal:443 HTTP/1.1\r\nHost: crm.internal\r\n${authorization}\r\n`);
    await readUntil(client, ESTABLISHED);
    await once(client, 'close');
  });
});

describe("the run's listener", () => {
  it('refuses what is over the limit, says so, and gives places back', async () => {
    const far = await startTcp((socket) => void socket.pipe(socket));
    const under = await startProxy({ services: [service(far.port)], limits: { connectionsPerRun: 3 } });
    const open = await Promise.all([openTunnel(under), openTunnel(under), openTunnel(under)]);
    expect(await under.send(connectLine(under))).toMatch(
      /^HTTP\/1\.1 503 .*\r\nWormhole-Egress-Denied: TOO_MANY_CONNECTIONS\r\n/,
    );
    expect(far.connections()).toBe(3);
    open[0].destroy();
    await expect
      .poll(async () => {
        const client = await under.connect();
        client.write(connectLine(under));
        return readUntil(client, '\r\n\r\n');
      })
      .toBe(ESTABLISHED);
    const refused = under.records.filter((r) => r.reason === 'TOO_MANY_CONNECTIONS');
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]).toMatchObject({
      tenantId: 'acme',
      ...under.identity,
      host: 'crm.internal',
      allowed: false,
    });
  });

  it('closes what is far over the limit at once, and records that too', async () => {
    const under = await startProxy({ limits: { connectionsPerRun: 2 } });
    const silent = await Promise.all(Array.from({ length: 4 }, () => under.connect()));
    const one = await under.connect();
    await once(one.resume(), 'close');
    expect(under.records).toMatchObject([
      { ...under.identity, allowed: false, reason: 'TOO_MANY_CONNECTIONS' },
    ]);
    for (const socket of silent) socket.destroy();
  });

  it('takes its tunnels with it when it closes, and its socket', async () => {
    const ended: boolean[] = [];
    const far = await startTcp((socket) => void socket.resume().once('end', () => ended.push(true)));
    const under = await startProxy({ services: [service(far.port)] });
    const clients = await Promise.all([openTunnel(under), openTunnel(under)]);
    const closed = Promise.all(clients.map((client) => once(client.resume(), 'close')));
    await under.close();
    await closed;
    await expect.poll(() => ended.length).toBe(2);
    await expect(under.connect()).rejects.toThrow(/ENOENT/);
  });
});
