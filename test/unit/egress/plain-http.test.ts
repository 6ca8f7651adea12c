import { createHash, randomBytes } from 'node:crypto';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { describe, expect, it } from 'vitest';
import { startHttp, startTcp } from './far-side.ts';
import { denialOf, readUntil, startProxy, type ProxyUnderTest } from './proxy-under-test.ts';

const service = (port: number, host = 'crm.internal') => ({
  host,
  port: 80,
  address: '127.0.0.1',
  targetPort: port,
});

/** A request through node's own client, in absolute form over the run's socket. */
const exchange = (
  under: ProxyUnderTest,
  options: { method?: string; url?: string; headers?: Record<string, string>; body?: Readable },
): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const outgoing = httpRequest({
      socketPath: under.socketPath,
      method: options.method ?? 'GET',
      path: options.url ?? 'http://crm.internal/',
      headers: { Host: 'crm.internal', 'Proxy-Authorization': `Bearer ${under.grant()}`, ...options.headers },
      agent: false,
    });
    outgoing.once('response', resolve).once('error', reject);
    if (options.body === undefined) outgoing.end();
    else pipeline(options.body, outgoing).catch(reject);
  });

describe('a plain HTTP request', () => {
  it('reaches an internal service, with the path as it was written and without the proxy headers', async () => {
    const far = await startHttp();
    const under = await startProxy({ services: [service(far.port)] });
    const answer = await under.send(
      `GET http://CRM.internal/a/../b%2e%2f?q=1&q=2 HTTP/1.1\r\nHost: crm.Internal.\r\n${under.authorization()}` +
        'Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers\r\n' +
        'Upgrade: websocket\r\nX-Twice: a\r\nX-Twice: b\r\nAuthorization: Bearer far\r\n\r\n',
    );
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(answer).toContain('hello');
    expect(far.arrivals).toHaveLength(1);
    expect(far.arrivals[0]).toMatchObject({ method: 'GET', url: '/a/../b%2e%2f?q=1&q=2', body: '' });
    expect(far.arrivals[0]?.rawHeaders).toEqual([
      'Host',
      'crm.internal',
      'X-Twice',
      'a',
      'X-Twice',
      'b',
      'Authorization',
      'Bearer far',
      'Connection',
      'close',
    ]);
    expect(under.records).toEqual([
      {
        tenantId: 'acme',
        ...under.identity,
        method: 'GET',
        host: 'crm.internal',
        port: 80,
        allowed: true,
        reason: null,
        address: '127.0.0.1',
        dropped: null,
        at: expect.any(Date) as Date,
      },
    ]);
  });

  it('uses one connection of the run for many requests, and one to the far side for each', async () => {
    const far = await startHttp();
    const under = await startProxy({ services: [service(far.port)] });
    const client = await under.connect();
    for (let i = 0; i < 3; i += 1) {
      client.write(
        `GET http://crm.internal/${i} HTTP/1.1\r\nHost: crm.internal\r\n${under.authorization()}\r\n`,
      );
      expect(await readUntil(client, 'hello')).toContain('200 OK');
    }
    expect(far.arrivals.map((a) => a.url)).toEqual(['/0', '/1', '/2']);
    expect(far.connections()).toBe(3);
    expect(under.records).toHaveLength(3);
  });

  it('answers pipelined requests in their order', async () => {
    const far = await startHttp();
    const under = await startProxy({ services: [service(far.port)] });
    const one = (path: string, last = ''): string =>
      `GET http://crm.internal/${path} HTTP/1.1\r\nHost: crm.internal\r\n${under.authorization()}${last}\r\n`;
    const answer = await under.send(one('1') + one('2') + one('3', 'Connection: close\r\n'));
    expect(answer.match(/200 OK/g)).toHaveLength(3);
    expect(far.arrivals.map((a) => a.url).sort()).toEqual(['/1', '/2', '/3']);
  });

  it.each([
    ['Content-Length: 5\r\n\r\nhello', 'content-length', '5'],
    ['Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n', 'transfer-encoding', 'chunked'],
    ['Connection: content-length\r\nContent-Length: 5\r\n\r\nhello', 'content-length', '5'],
    ['Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello', 'content-length', '5'],
  ])('frames a body anew: %j', async (rest, name, value) => {
    const far = await startHttp();
    const under = await startProxy({ services: [service(far.port)] });
    const client = await under.connect();
    client.write(
      `POST http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n${under.authorization()}${rest}`,
    );
    await readUntil(client, 'hello');
    expect(far.arrivals[0]).toMatchObject({ body: 'hello', headers: { [name]: value } });
    expect(far.arrivals[0]?.headers).not.toHaveProperty('expect');
  });

  it('says that a POST has no body', async () => {
    const far = await startHttp();
    const under = await startProxy({ services: [service(far.port)] });
    const client = await under.connect();
    client.write(`POST http://crm.internal HTTP/1.1\r\nHost: crm.internal\r\n${under.authorization()}\r\n`);
    await readUntil(client, 'hello');
    expect(far.arrivals[0]).toMatchObject({ url: '/', body: '', headers: { 'content-length': '0' } });
  });

  it('streams megabytes both ways', async () => {
    const far = await startHttp((request, response) => {
      response.writeHead(200);
      request.pipe(response);
    });
    const under = await startProxy({ services: [service(far.port)] });
    const chunk = randomBytes(1024 * 1024);
    const chunks = 64;
    const sent = createHash('sha256');
    const body = Readable.from(
      (function* () {
        for (let i = 0; i < chunks; i += 1) {
          sent.update(chunk);
          yield chunk;
        }
      })(),
    );
    const response = await exchange(under, { method: 'POST', body });
    const received = createHash('sha256');
    let bytes = 0;
    for await (const part of response as AsyncIterable<Buffer>) {
      received.update(part);
      bytes += part.length;
    }
    expect(bytes).toBe(chunks * chunk.length);
    expect(received.digest('hex')).toBe(sent.digest('hex'));
  });

  it('stops reading from the far side when the run does not read', async () => {
    let sent = 0;
    const far = await startTcp((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n');
      const chunk = Buffer.alloc(64 * 1024);
      const more = (): void => {
        while (!socket.destroyed && sent < 256 * 1024 * 1024) {
          sent += chunk.length;
          if (!socket.write(chunk)) return;
        }
      };
      socket.on('drain', more);
      more();
    });
    const under = await startProxy({ services: [service(far.port)], limits: { idleTimeoutMs: 400 } });
    const client = await under.connect();
    client.pause();
    client.write(`GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n${under.authorization()}\r\n`);
    await expect.poll(() => under.records.length).toBe(1);
    // The idle limit ends it: a connection that nobody reads is one on which nothing moves.
    await new Promise((resolve) => setTimeout(resolve, 1200));
    expect(sent).toBeLessThan(32 * 1024 * 1024);
  });

  it('stops reading from the run when the far side does not read', async () => {
    const far = await startTcp((socket) => void socket.pause());
    const under = await startProxy({ services: [service(far.port)], limits: { idleTimeoutMs: 400 } });
    let taken = 0;
    const body = Readable.from(
      (function* () {
        for (; taken < 256 * 1024 * 1024; taken += 64 * 1024) yield Buffer.alloc(64 * 1024);
      })(),
    );
    const answer = await exchange(under, { method: 'POST', body }).catch((error: unknown) => error);
    expect(answer).toBeDefined();
    expect(taken).toBeLessThan(32 * 1024 * 1024);
  });

  it('passes a far side answer on: status, repeated headers, HEAD, 204, and nothing that is ours to say', async () => {
    const far = await startHttp((request, response) => {
      const headers = [
        'Set-Cookie',
        'a=1',
        'Set-Cookie',
        'b=2',
        'Wormhole-Egress-Denied',
        'HOST_NOT_ALLOWED',
      ];
      if (request.url === '/empty') response.writeHead(204, headers).end();
      else response.writeHead(418, 'Short and stout', [...headers, 'Content-Length', '3']).end('abc');
    });
    const under = await startProxy({ services: [service(far.port)] });
    const teapot = await exchange(under, {});
    expect([teapot.statusCode, teapot.statusMessage]).toEqual([418, 'Short and stout']);
    expect(teapot.headers['set-cookie']).toEqual(['a=1', 'b=2']);
    expect(teapot.headers).not.toHaveProperty('wormhole-egress-denied');
    expect((await buffer(teapot)).toString()).toBe('abc');
    const head = await exchange(under, { method: 'HEAD' });
    expect([head.headers['content-length'], (await buffer(head)).length]).toEqual(['3', 0]);
    const empty = await exchange(under, { url: 'http://crm.internal/empty' });
    expect([empty.statusCode, (await buffer(empty)).length]).toEqual([204, 0]);
  });

  it('breaks off where the far side breaks off, never with a whole answer', async () => {
    const far = await startTcp((socket) => {
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf'));
    });
    const under = await startProxy({ services: [service(far.port)] });
    const response = await exchange(under, {});
    await expect(buffer(response)).rejects.toThrow();
  });

  it.each([
    ['nothing', ''],
    ['not HTTP', 'SSH-2.0-OpenSSH\r\n'],
    [
      'a length and chunks',
      'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['another protocol', 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'],
    ['an endless header', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`],
  ])('answers 502 when the far side says %s', async (_what, bytes) => {
    const far = await startTcp((socket) => {
      socket.once('data', () => socket.end(bytes));
    });
    const under = await startProxy({ services: [service(far.port)] });
    const client = await under.connect();
    client.write(`GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n${under.authorization()}\r\n`);
    expect(denialOf(await readUntil(client, '}\n'))).toBe('502 UPSTREAM_FAILED');
  });

  it('passes an early answer on while the run still sends', async () => {
    const far = await startHttp((request, response) => {
      response.writeHead(413, { Connection: 'close' }).end('too much');
      request.socket.destroySoon();
    });
    const under = await startProxy({ services: [service(far.port)] });
    const client = await under.connect();
    client.write(
      `POST http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n${under.authorization()}Content-Length: 99999999\r\n\r\nx`,
    );
    expect(await readUntil(client, 'too much')).toContain('413');
  });

  it('ends the far side connection when the run goes away', async () => {
    let closed = false;
    const far = await startTcp((socket) => void socket.resume().once('end', () => (closed = true)));
    const under = await startProxy({ services: [service(far.port)] });
    const client = await under.connect();
    client.write(`GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n${under.authorization()}\r\n`);
    await expect.poll(() => far.connections()).toBe(1);
    client.destroy();
    await expect.poll(() => closed).toBe(true);
  });
});
