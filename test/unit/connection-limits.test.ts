import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ConnectionLimits } from '../../controller/connection-limits.ts';

const clients: Socket[] = [];
let server: Server;
let limits: ConnectionLimits;

beforeEach(async () => {
  limits = new ConnectionLimits({ perAttempt: 2, unprovenPerAddress: 3, unproven: 4, proofTimeoutMs: 400 });
  server = createServer((socket) => {
    socket.on('error', () => undefined);
    limits.admit(socket);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await new Promise((resolve) => server.close(resolve));
});

/** @returns the server's end of a new connection from an address of loopback. */
async function open(localAddress = '127.0.0.1'): Promise<Socket> {
  const incoming = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const client = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', localAddress });
  client.on('error', () => undefined);
  client.resume();
  clients.push(client);
  return await incoming;
}

const isOpen = (socket: Socket): boolean => !socket.destroyed;

test('an address has a few connections that proved nothing; those that did make room', async () => {
  const first = [await open(), await open(), await open()];
  expect(isOpen(await open())).toBe(false);
  expect(first.every(isOpen)).toBe(true);
  expect(limits.prove(first[0]!, 'a-1')).toBe(true);
  expect(isOpen(await open())).toBe(true);
  expect(isOpen(await open())).toBe(false);
});

test('an attempt has a few connections; one that ends makes room', async () => {
  const [one, two, three] = [await open(), await open(), await open()];
  expect([one, two, three].map((socket) => limits.prove(socket, 'a-1'))).toEqual([true, true, false]);
  expect(limits.prove(two, 'a-1')).toBe(true);
  expect(limits.prove(three, 'b-1')).toBe(true);
  const closed = once(one, 'close');
  one.destroy();
  await closed;
  const four = await open();
  expect(limits.prove(four, 'a-1')).toBe(true);
});

test('a connection that proves nothing ends after a while, others do not', async () => {
  const [silent, proven] = [await open(), await open()];
  limits.prove(proven, 'a-1');
  await once(silent, 'close');
  expect(isOpen(proven)).toBe(true);
  expect([await open(), await open(), await open()].every(isOpen)).toBe(true);
});

test('all addresses have a few; the one that has the most makes room for one that has fewer, by its newest', async () => {
  const [first, second, third] = [await open(), await open(), await open()];
  const other = await open('127.0.0.2');
  const another = await open('127.0.0.3');
  expect([first, second, third, other, another].map(isOpen)).toEqual([true, true, false, true, true]);
  expect(isOpen(await open('127.0.0.2'))).toBe(false);
  limits.prove(first, 'a-1');
  expect(isOpen(await open('127.0.0.2'))).toBe(true);
  expect(isOpen(first)).toBe(true);
});

test('places are given back once, however a connection ends', async () => {
  for (let round = 0; round < 3; round += 1) {
    const sockets = [await open(), await open('127.0.0.2'), await open(), await open('127.0.0.3')];
    expect(sockets.every(isOpen)).toBe(true);
    limits.prove(sockets[0]!, 'a-1');
    expect(limits.isProven(sockets[0]!)).toBe(true);
    expect(limits.isProven(sockets[1]!)).toBe(false);
    const closed = sockets.map((socket) => once(socket, 'close'));
    for (const socket of sockets) socket.destroy();
    await Promise.all(closed);
  }
});
