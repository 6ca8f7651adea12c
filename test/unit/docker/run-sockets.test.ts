import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { Dialer } from '../../../controller/egress/dial.ts';
import { EgressProxy } from '../../../controller/egress/proxy.ts';
import { Gateway } from '../../../controller/gateway/gateway.ts';
import { Reports } from '../../../controller/gateway/report.ts';
import { newRunId } from '../../../controller/model/ids.ts';
import { RunSockets } from '../../../controller/run-sockets.ts';
import { PostgresLogStore } from '../../../controller/store/logs/postgres.ts';

const ref = { runId: newRunId(), attempt: 1 };
const log = pino({ level: 'silent' });

async function make(): Promise<{ folder: string; sockets: RunSockets }> {
  const folder = await mkdtemp(join(tmpdir(), 'rs-'));
  const pool = new pg.Pool();
  const gateway = new Gateway(
    {
      pool,
      connections: () => Promise.resolve({}),
      egress: () => Promise.resolve({ proxyUrl: 'unix:/run/wormhole/egress.sock', grant: 'a-grant' }),
    },
    new Reports(pool, new PostgresLogStore(pool), () => undefined),
    log,
  );
  const proxy = new EgressProxy({
    grantKey: randomBytes(32),
    dialer: new Dialer({ resolver: { resolve: () => Promise.reject(new Error('no name is asked for')) } }),
    onDecision: () => undefined,
  });
  const sockets = new RunSockets(gateway, proxy);
  onTestFinished(async () => {
    await sockets.closeAll();
    await gateway.close();
    await pool.end();
    await rm(folder, { recursive: true });
  });
  return { folder, sockets };
}

async function isOpen(socketPath: string): Promise<boolean> {
  const client = connect(socketPath);
  try {
    await once(client, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    client.destroy();
  }
}

test.each([
  ['gateway.sock', 'egress.sock'],
  ['egress.sock', 'gateway.sock'],
])('when %s cannot be opened, %s does not stay open, and both open once it can', async (broken, other) => {
  const { folder, sockets } = await make();
  // A folder that is not empty is in its place: neither a stale socket, nor somewhere to listen.
  await mkdir(join(folder, broken, 'x'), { recursive: true });
  await expect(sockets.open(ref, folder)).rejects.toThrow(broken);
  // One that was still being opened then is open by now.
  await delay(100);
  expect(await isOpen(join(folder, other))).toBe(false);
  await sockets.close(ref);

  await rm(join(folder, broken), { recursive: true });
  await sockets.open(ref, folder);
  expect([await isOpen(join(folder, broken)), await isOpen(join(folder, other))]).toEqual([true, true]);
});

test('a close during an opening that fails is success', async () => {
  const { folder, sockets } = await make();
  await mkdir(join(folder, 'egress.sock'));
  const opening = sockets.open(ref, folder);
  await Promise.all([expect(opening).rejects.toThrow('egress.sock'), sockets.close(ref)]);
  expect(await isOpen(join(folder, 'gateway.sock'))).toBe(false);
});
