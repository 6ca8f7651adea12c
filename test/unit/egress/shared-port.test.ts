import { connect, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import type { InternalService } from '../../../controller/egress/internal-service.ts';
import type { EgressLimits } from '../../../controller/egress/limits.ts';
import { startHttp } from './far-side.ts';
import { denialOf, readAll, readUntil, startProxy, type ProxyUnderTest } from './proxy-under-test.ts';

interface SharedPort extends ProxyUnderTest {
  /** Connects to the port from an address of loopback. */
  readonly open: (from?: string) => Promise<Socket>;
}

/** A proxy that also listens on a port, as in a cluster. */
async function startOnPort(
  limits: Partial<EgressLimits>,
  services: readonly InternalService[] = [],
): Promise<SharedPort> {
  const under = await startProxy({ limits, services });
  const { port, close } = await under.proxy.listenOnTcp('127.0.0.1', 0);
  const clients: Socket[] = [];
  onTestFinished(async () => {
    for (const client of clients) client.destroy();
    await close();
  });
  const open = (localAddress = '127.0.0.1'): Promise<Socket> =>
    new Promise((resolve) => {
      const client = connect({ host: '127.0.0.1', port, localAddress });
      clients.push(client);
      client.on('error', () => undefined);
      client.once('connect', () => resolve(client));
    });
  return { ...under, open };
}

/** A request with a grant that is verified; without a service, the policy refuses it. */
const granted = (under: ProxyUnderTest): string =>
  `GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n${under.authorization()}\r\n`;
const UNGRANTED = 'GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n\r\n';

test('connections that show no grant are few of an address, and others are served meanwhile', async () => {
  const under = await startOnPort({ unprovenPerAddress: 4, unprovenConnections: 6 });
  const silent = await Promise.all(Array.from({ length: 300 }, () => under.open('127.0.0.2')));
  await expect.poll(() => silent.filter((client) => !client.closed).length).toBe(4);
  // Of a third address, so that all places of unproven ones are taken.
  await Promise.all([under.open('127.0.0.3'), under.open('127.0.0.3')]);
  const other = await under.open();
  other.write(granted(under));
  expect(denialOf(await readUntil(other, '\r\n\r\n'))).toBe('403 HOST_NOT_ALLOWED');
});

test('connections that were closed unread are counted, not recorded one by one', async () => {
  const under = await startOnPort({ unprovenPerAddress: 1, dropRecordIntervalMs: 300 });
  const clients = await Promise.all(Array.from({ length: 101 }, () => under.open()));
  await expect.poll(() => clients.filter((client) => !client.closed).length).toBe(1);
  const dropped = (): (number | null)[] => under.records.map((record) => record.dropped);
  await expect.poll(dropped).toEqual([1, 99]);
  expect(under.records[1]).toMatchObject({ runId: null, allowed: false, reason: 'TOO_MANY_CONNECTIONS' });
});

test('a connection that shows no grant ends after its first request, or after a while without one', async () => {
  const under = await startOnPort({ proofTimeoutMs: 200 });
  const client = await under.open();
  client.write(UNGRANTED);
  expect(denialOf(await readAll(client))).toBe('407 GRANT_REQUIRED');
  expect(await readAll(await under.open())).toBe('');
});

test('requests that are sent without waiting for answers are bounded, before a grant to one', async () => {
  const under = await startOnPort({ connectionsPerRun: 2 });
  const flood = await under.open();
  flood.write(UNGRANTED.repeat(2000));
  await readAll(flood);
  expect(under.records.filter(({ reason }) => reason === 'GRANT_REQUIRED')).toHaveLength(1);
  under.records.splice(0);
  const proven = await under.open();
  proven.write(granted(under).repeat(2000));
  await readAll(proven);
  expect(under.records.length).toBeLessThan(10);
});

test('an attempt has no more connections than its requests and tunnels need', async () => {
  const far = await startHttp();
  const service = { host: 'crm.internal', port: 80, address: '127.0.0.1', targetPort: far.port };
  const under = await startOnPort({ connectionsPerRun: 1 }, [service]);
  // They stay open, for a next request.
  for (let i = 0; i < 2; i += 1) {
    const client = await under.open();
    client.write(granted(under));
    await readUntil(client, 'hello');
  }
  const third = await under.open();
  third.write(granted(under));
  expect(denialOf(await readAll(third))).toBe('503 TOO_MANY_CONNECTIONS');
  const other = await under.open();
  other.write(granted({ ...under, authorization: () => under.authorization({ attempt: 2 }) }));
  await readUntil(other, 'hello');
});
