import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { signGrant, type EgressGrant } from '../../../controller/egress/grant.ts';
import { EGRESS_REASONS } from '../../../controller/egress/reasons.ts';
import { newRunId, tenantIdSchema } from '../../../controller/model/ids.ts';
import { startHttp, startTcp } from './far-side.ts';
import { denialOf, readUntil, ScriptedResolver, startProxy } from './proxy-under-test.ts';

const PUBLIC = '93.184.216.34';
const services = (port: number) =>
  [80, 443].map((p) => ({ host: 'crm.internal', port: p, address: '127.0.0.1', targetPort: port }));

describe('a request without the right grant', () => {
  it.each([
    ['', '407 GRANT_REQUIRED'],
    ['Proxy-Authorization: Basic eDp5\r\n', '403 GRANT_INVALID'],
    ['Proxy-Authorization: Bearer\r\n', '403 GRANT_INVALID'],
    ['Proxy-Authorization: Bearer v1.e30.x\r\n', '403 GRANT_INVALID'],
    ['Authorization: Bearer v1.e30.x\r\n', '407 GRANT_REQUIRED'],
  ])('%j is refused with %s', async (header, denial) => {
    const far = await startHttp();
    const under = await startProxy({ services: services(far.port) });
    for (const start of ['GET http://crm.internal/', 'CONNECT crm.internal:443']) {
      const answer = await under.send(
        `${start} HTTP/1.1\r\nHost: crm.internal\r\nConnection: close\r\n${header}\r\n`,
      );
      expect(denialOf(answer)).toBe(denial);
      if (denial.startsWith('407')) expect(answer).toContain('Proxy-Authenticate: Bearer');
      expect(JSON.parse(answer.split('\r\n\r\n')[1]!)).toMatchObject({ error: { code: 'EGRESS_DENIED' } });
      expect(answer.endsWith('}\n')).toBe(true);
    }
    expect(far.connections()).toBe(0);
    expect(under.records).toHaveLength(2);
    expect(under.records[0]).toMatchObject({
      tenantId: null,
      ...under.identity,
      host: 'crm.internal',
      allowed: false,
    });
  });

  it('of another run, another attempt, another key, or of the past is refused', async () => {
    const far = await startHttp();
    const under = await startProxy({ services: services(far.port) });
    const send = (token: string): Promise<string> =>
      under.send(
        `GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nConnection: close\r\nProxy-Authorization: Bearer ${token}\r\n\r\n`,
      );
    expect(denialOf(await send(under.grant({ runId: newRunId() })))).toBe('403 GRANT_MISMATCH');
    expect(denialOf(await send(under.grant({ attempt: 2 })))).toBe('403 GRANT_MISMATCH');
    expect(denialOf(await send(under.grant({ expiresAt: Date.now() - 1 })))).toBe('403 GRANT_EXPIRED');
    const forged = signGrant(randomBytes(32), {
      tenantId: tenantIdSchema.parse('acme'),
      ...under.identity,
      policy: { mode: 'unrestricted', allow: [] },
      expiresAt: Date.now() + 60_000,
    });
    expect(denialOf(await send(forged))).toBe('403 GRANT_INVALID');
    expect(far.connections()).toBe(0);
  });

  it('is known by its grant alone on TCP', async () => {
    const far = await startHttp();
    const under = await startProxy({ services: services(far.port) });
    const { port, close } = await under.proxy.listenOnTcp('127.0.0.1', 0);
    try {
      const runId = newRunId();
      const answer = await fetchRaw(
        port,
        `GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nConnection: close\r\n${under.authorization({ runId })}\r\n`,
      );
      expect(answer).toContain('200 OK');
      expect(under.records).toMatchObject([{ runId, tenantId: 'acme', allowed: true }]);
    } finally {
      await close();
    }
  });
});

describe('a hostile request', () => {
  it.each([
    ['GET / HTTP/1.1\r\nHost: crm.internal\r\n', '400 REQUEST_INVALID'],
    ['GET * HTTP/1.1\r\nHost: crm.internal\r\n', '400 REQUEST_INVALID'],
    ['GET https://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n', '400 REQUEST_INVALID'],
    ['GET ftp://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n', '400 REQUEST_INVALID'],
    ['GET http:///x HTTP/1.1\r\nHost: crm.internal\r\n', '400 REQUEST_INVALID'],
    ['GET http://crm.internal/#x HTTP/1.1\r\nHost: crm.internal\r\n', '400 REQUEST_INVALID'],
    ['GET http://crm.internal/\xff HTTP/1.1\r\nHost: crm.internal\r\n', '400 REQUEST_INVALID'],
    ['GET http://user:pw@crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n', '403 HOST_INVALID'],
    ['GET http://crm.internal@evil.example/ HTTP/1.1\r\nHost: crm.internal\r\n', '403 HOST_INVALID'],
    ['GET http://crm.internal\\@evil.example/ HTTP/1.1\r\nHost: crm.internal\r\n', '400 REQUEST_INVALID'],
    ['GET http://crm.internal%2f/ HTTP/1.1\r\nHost: crm.internal\r\n', '403 HOST_INVALID'],
    ['GET http://crm.internal:0/ HTTP/1.1\r\nHost: crm.internal\r\n', '403 HOST_INVALID'],
    ['GET http://crm.internal:65536/ HTTP/1.1\r\nHost: crm.internal\r\n', '403 HOST_INVALID'],
    ['GET http://crm.internal:80:80/ HTTP/1.1\r\nHost: crm.internal\r\n', '403 HOST_INVALID'],
    [
      'GET http://b\xfccher.example/ HTTP/1.1\r\nHost: crm.internal\r\n',
      '400 REQUEST_INVALID or 403 HOST_INVALID',
    ],
    ['GET http://crm.internal/ HTTP/1.1\r\nHost: evil.example\r\n', '403 HOST_MISMATCH'],
    ['GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal:8080\r\n', '403 HOST_MISMATCH'],
    ['GET http://crm.internal/ HTTP/1.1\r\nHost: \r\n', '403 HOST_MISMATCH'],
    ['GET http://crm.internal/ HTTP/1.1\r\n', '400 REQUEST_INVALID'],
    [
      'GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nHost: evil.example\r\n',
      '400 REQUEST_INVALID',
    ],
    ['GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nExpect: gold\r\n', '400 REQUEST_INVALID'],
    [
      'POST http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n',
      '400 REQUEST_INVALID',
    ],
    [
      'POST http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n',
      '400 REQUEST_INVALID',
    ],
    [
      'POST http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nContent-Length: 3\r\nContent-Length: 4\r\n',
      '400 REQUEST_INVALID',
    ],
    [
      'POST http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nContent-Length: +3\r\n',
      '400 REQUEST_INVALID',
    ],
    [
      'POST http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nTransfer-Encoding: gzip, chunked\r\n',
      '400 REQUEST_INVALID',
    ],
    [
      'POST http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nTransfer-Encoding: chunked, identity\r\n',
      '400 REQUEST_INVALID',
    ],
    [
      'POST http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nTransfer-Encoding : chunked\r\n',
      '400 REQUEST_INVALID',
    ],
    ['GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nX: a\nY: b\r\n', '400 REQUEST_INVALID'],
    ['GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nX: a\r\n folded\r\n', '400 REQUEST_INVALID'],
    ['GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nX: \0\r\n', '400 REQUEST_INVALID'],
    ['GET http://crm.internal/ HTTP/2.0\r\nHost: crm.internal\r\n', '400 REQUEST_INVALID'],
    ['NONSENSE http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n', '400 REQUEST_INVALID'],
    ['\x16\x03\x01\x02\x00\x01\x00', '400 REQUEST_INVALID'],
    [
      `GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nX: ${'x'.repeat(70_000)}\r\n`,
      '431 HEADERS_TOO_LARGE',
    ],
    ['CONNECT crm.internal HTTP/1.1\r\nHost: crm.internal\r\n', '403 HOST_INVALID'],
    ['CONNECT user@crm.internal:443 HTTP/1.1\r\nHost: crm.internal\r\n', '403 HOST_INVALID'],
    ['CONNECT http://crm.internal:443 HTTP/1.1\r\nHost: crm.internal\r\n', '403 HOST_INVALID'],
    ['CONNECT crm.internal:443/x HTTP/1.1\r\nHost: crm.internal\r\n', '403 HOST_INVALID'],
    ['CONNECT crm.internal:443 HTTP/1.1\r\nHost: evil.example:443\r\n', '403 HOST_MISMATCH'],
    [
      'CONNECT crm.internal:443 HTTP/1.1\r\nHost: crm.internal\r\nContent-Length: 5\r\n',
      '400 REQUEST_INVALID',
    ],
    [
      'CONNECT crm.internal:443 HTTP/1.1\r\nHost: crm.internal\r\nTransfer-Encoding: chunked\r\n',
      '400 REQUEST_INVALID',
    ],
  ])('%j is refused', async (bytes, denial) => {
    const far = await startHttp();
    const under = await startProxy({ services: services(far.port) });
    const answer = await under.send(`${bytes}Connection: close\r\n${under.authorization()}\r\n`);
    expect(denial).toContain(denialOf(answer));
    expect(far.connections()).toBe(0);
    expect(under.records).toHaveLength(1);
    expect(under.records[0]).toMatchObject({
      ...under.identity,
      allowed: false,
      reason: denialOf(answer).slice(4),
    });
  });

  it('hidden in the body of another one does not reach anybody as a request', async () => {
    const far = await startHttp();
    const under = await startProxy({ services: services(far.port) });
    const hidden = 'GET http://crm.internal/hidden HTTP/1.1\r\nHost: crm.internal\r\n\r\n';
    const client = await under.connect();
    client.write(
      `POST http://crm.internal/outer HTTP/1.1\r\nHost: crm.internal\r\n${under.authorization()}Connection: close\r\n` +
        `Content-Length: ${hidden.length}\r\n\r\n${hidden}`,
    );
    await readUntil(client, 'hello');
    expect(far.arrivals).toMatchObject([{ url: '/outer', body: hidden }]);
  });

  it('with thousands of header lines hides none of them', async () => {
    const far = await startHttp();
    const under = await startProxy({ services: services(far.port) });
    const client = await under.connect();
    client.write(
      `POST http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n${under.authorization()}${'a:\r\n'.repeat(3000)}` +
        'X-Last: seen\r\nProxy-Authorization: again\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
    );
    await readUntil(client, '\r\n\r\n');
    expect(far.arrivals).toMatchObject([{ body: 'hello', headers: { 'x-last': 'seen' } }]);
    expect(far.arrivals[0]?.rawHeaders.join()).not.toMatch(/proxy-authorization/i);
  });

  it('that breaks its framing half-way is cut off on both sides', async () => {
    const far = await startTcp((socket) => void socket.resume());
    const under = await startProxy({ services: services(far.port) });
    const client = await under.connect();
    client.write(
      `POST http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n${under.authorization()}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`,
    );
    await expect.poll(() => far.connections()).toBe(1);
    client.write('zz\r\nnot a chunk');
    await once(client.resume(), 'close');
    expect(under.records.map((r) => r.reason)).toEqual([null, 'REQUEST_INVALID']);
  });

  it.each(['', 'GET http://crm.inter'])('that never comes (%j) is not waited for', async (bytes) => {
    const under = await startProxy({ limits: { headersTimeoutMs: 200 } });
    const client = await under.connect();
    client.write(bytes);
    expect(denialOf(await readUntil(client, '}\n'))).toBe('408 REQUEST_TIMEOUT');
    expect(under.records).toMatchObject([{ reason: 'REQUEST_TIMEOUT', host: null, allowed: false }]);
  });
});

describe('a target that the policy or its address forbids', () => {
  const open: Partial<EgressGrant> = { policy: { mode: 'unrestricted', allow: [] } };
  const request = (host: string, port: number, isConnect: boolean): string => {
    const authority = `${host}:${port}`;
    const target = isConnect ? authority : `http://${authority}/`;
    return `${isConnect ? 'CONNECT' : 'GET'} ${target} HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\n`;
  };

  it.each([true, false])('is refused with its reason (CONNECT: %s)', async (isConnect) => {
    const far = await startHttp();
    const under = await startProxy({ services: services(far.port) });
    const ask = async (host: string, port: number): Promise<string> =>
      denialOf(await under.send(`${request(host, port, isConnect)}${under.authorization()}\r\n`));
    expect(await ask('evil.example', 443)).toBe('403 HOST_NOT_ALLOWED');
    expect(await ask('crm.internal', 8080)).toBe('403 PORT_NOT_ALLOWED');
    for (const host of ['127.0.0.1', '2130706433', '0x7f.1', '[::1]', '[::ffff:7f00:1]']) {
      expect(await ask(host, far.port)).toBe('403 ADDRESS_LITERAL');
    }
    const deny = under.authorization({ policy: { mode: 'deny', allow: [] } });
    expect(denialOf(await under.send(`${request('crm.internal', 80, isConnect)}${deny}\r\n`))).toBe(
      '403 EGRESS_DISABLED',
    );
    expect(far.connections()).toBe(0);
  });

  it.each([
    '127.0.0.1',
    '10.1.2.3',
    '169.254.169.254',
    '::1',
    '::ffff:127.0.0.1',
    'fd00:ec2::254',
    '64:ff9b::7f00:1',
  ])('is refused when its name resolves to %s, even as one of several', async (address) => {
    const far = await startHttp();
    const resolver = new ScriptedResolver([address], [PUBLIC, address], [address, PUBLIC]);
    const under = await startProxy({ dialer: { resolver } });
    for (const isConnect of [true, false, true]) {
      const answer = await under.send(
        `${request('rebind.example', far.port, isConnect)}${under.authorization(open)}\r\n`,
      );
      expect(denialOf(answer)).toBe('403 ADDRESS_NOT_PUBLIC');
      // What an internal name resolves to is for the operator to see, not for the tenant.
      expect(answer).not.toContain(address);
    }
    expect(under.records.map((r) => r.address)).toEqual([address, address, address]);
    expect(far.connections()).toBe(0);
  });

  it('is refused at addresses of this machine, though they are public', async () => {
    const under = await startProxy({
      dialer: { resolver: new ScriptedResolver([PUBLIC]), ownAddresses: () => ['2606:4700::1', PUBLIC] },
    });
    for (const host of ['me.example', PUBLIC, '[2606:4700:0:0::1]']) {
      const answer = await under.send(`${request(host, 443, true)}${under.authorization(open)}\r\n`);
      expect(denialOf(answer), host).toBe('403 ADDRESS_NOT_PUBLIC');
    }
  });

  it('is resolved once: what it resolves to afterwards does not matter', async () => {
    const far = await startHttp();
    const resolver = new ScriptedResolver([PUBLIC], ['127.0.0.1']);
    const under = await startProxy({ dialer: { resolver, connectTimeoutMs: 300 } });
    const first = await under.send(
      `${request('rebind.example', far.port, true)}${under.authorization(open)}\r\n`,
    );
    expect(['502 CONNECT_FAILED', '504 CONNECT_TIMEOUT']).toContain(denialOf(first));
    expect(resolver.asked).toEqual(['rebind.example']);
    expect(under.records[0]?.address).toBe(PUBLIC);
    const second = await under.send(
      `${request('rebind.example', far.port, true)}${under.authorization(open)}\r\n`,
    );
    expect(denialOf(second)).toBe('403 ADDRESS_NOT_PUBLIC');
    expect(far.connections()).toBe(0);
  });

  it('that does not exist, does not listen or does not answer is told apart', async () => {
    const closed = createServer();
    await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
    const { port } = closed.address() as { port: number };
    await new Promise((resolve) => closed.close(resolve));
    const under = await startProxy({
      services: services(port),
      dialer: { resolver: new ScriptedResolver() },
    });
    expect(
      denialOf(await under.send(`${request('crm.internal', 443, true)}${under.authorization()}\r\n`)),
    ).toBe('502 CONNECT_FAILED');
    const nowhere = await under.send(
      `${request('nowhere.example', 443, true)}${under.authorization(open)}\r\n`,
    );
    expect(denialOf(nowhere)).toBe('502 NAME_NOT_RESOLVED');
    const slow = await startProxy({
      dialer: { resolver: { resolve: () => new Promise(() => undefined) }, resolveTimeoutMs: 100 },
    });
    const late = await slow.send(`${request('slow.example', 443, true)}${slow.authorization(open)}\r\n`);
    expect(denialOf(late)).toBe('502 NAME_NOT_RESOLVED');
  });

  it('that says nothing in time is given up: idle and in total', async () => {
    const far = await startTcp((socket) => void socket.resume());
    for (const [limits, denial] of [
      [{ idleTimeoutMs: 150 }, '504 IDLE_TIMEOUT'],
      [{ totalTimeoutMs: 150 }, '504 TOTAL_TIMEOUT'],
    ] as const) {
      const under = await startProxy({ services: services(far.port), limits });
      const answer = await under.send(`${request('crm.internal', 80, false)}${under.authorization()}\r\n`);
      expect(denialOf(answer)).toBe(denial);
    }
  });
});

describe('a listener', () => {
  it('drops what cannot be recorded', async () => {
    const far = await startHttp();
    const under = await startProxy({
      services: services(far.port),
      onDecision: () => {
        throw new Error('disk full');
      },
    });
    for (const start of ['GET http://crm.internal/', 'CONNECT crm.internal:443']) {
      expect(
        await under.send(`${start} HTTP/1.1\r\nHost: crm.internal\r\n${under.authorization()}\r\n`),
      ).toBe('');
    }
    expect(far.arrivals).toHaveLength(0);
  });

  it('is open to every uid, and replaces a stale socket but nothing else', async () => {
    const under = await startProxy({});
    expect((await stat(under.socketPath)).mode & 0o777).toBe(0o666);
    const close = await under.proxy.listenOn(under.socketPath, under.identity);
    await close();
    const file = `${under.socketPath}.txt`;
    await writeFile(file, 'precious');
    await expect(under.proxy.listenOn(file, under.identity)).rejects.toThrow(/EADDRINUSE/);
    expect(await readFile(file, 'utf8')).toBe('precious');
  });
});

describe('docs/egress.md', () => {
  it('documents every reason with its status, and no other', async () => {
    const page = await readFile(new URL('../../../docs/egress.md', import.meta.url), 'utf8');
    const documented = Array.from(
      page.matchAll(/^\| `([A-Z_]+)` +\| (\d{3}) +\|/gm),
      ([, reason, status]) => [reason, Number(status)],
    );
    expect(Object.fromEntries(documented)).toEqual(EGRESS_REASONS);
  });
});

function fetchRaw(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(bytes);
  return text(socket);
}
