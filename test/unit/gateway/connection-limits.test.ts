import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ConnectionLimits } from '../../../controller/gateway/connection-limits.ts';

const clients: Socket[] = [];
let server: Server;
let limits: ConnectionLimits;

beforeEach(async () => {
  limits = new ConnectionLimits({ perAttempt: 2, unprovenPerAddress: 3, proofTimeoutMs: 400 });
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

/** @returns the server's end of a new connection. */
async function open(): Promise<Socket> {
  const incoming = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
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
