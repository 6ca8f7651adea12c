import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { Door } from '../../../controller/intake/door.ts';
import type { TenantId } from '../../../controller/model/ids.ts';
import { tenantSchema } from '../../../controller/model/tenant.ts';
import { Notifications } from '../../../controller/store/notifications.ts';
import { requestCancel } from '../../../controller/store/run-transitions.ts';
import { listRuns } from '../../../controller/store/runs.ts';
import { upsertTenant } from '../../../controller/store/tenants.ts';
import { cloneDatabase } from '../../support/database.ts';
import { makeTenant, oneStep } from '../../support/runs.ts';

const { pool, url } = await cloneDatabase();

async function openDoor(): Promise<Door> {
  const notifications = new Notifications(url, () => undefined);
  await notifications.start();
  const door = new Door(pool, notifications);
  onTestFinished(async () => {
    door.close();
    await notifications.close();
  });
  return door;
}

const request = (tenantId: TenantId, n: number) => ({ tenantId, definition: oneStep(), input: { n } });
const queuedOf = (tenantId: TenantId) => listRuns(pool, { tenantId, status: 'QUEUED' });

/** Takes the oldest run out of the queue. */
async function leave(tenantId: TenantId): Promise<void> {
  const oldest = (await queuedOf(tenantId)).at(-1);
  await requestCancel(pool, oldest!.id);
}

test('a tenant with whenFull: wait waits until a run has left its queue, in the order of coming', async () => {
  const tenant = await makeTenant(pool, 'patient', { maxQueued: 2, whenFull: 'wait' });
  const door = await openDoor();
  await Promise.all([door.submit(request(tenant, 0)), door.submit(request(tenant, 1))]);
  const entered: number[] = [];
  const waiting = [2, 3, 4, 5].map(async (n) => {
    await sleep(n * 150);
    await door.submit(request(tenant, n));
    entered.push(n);
  });
  await sleep(1000);
  expect(entered).toEqual([]);
  for (let left = 1; left <= 4; left += 1) {
    await leave(tenant);
    await expect.poll(() => entered, { timeout: 5000, interval: 20 }).toHaveLength(left);
    expect(await queuedOf(tenant)).toHaveLength(2);
  }
  await Promise.all(waiting);
  expect(entered).toEqual([2, 3, 4, 5]);
});

test('a tenant with whenFull: reject is refused at once, unless it asks to wait', async () => {
  const tenant = await makeTenant(pool, 'strict', { maxQueued: 1 });
  const door = await openDoor();
  await door.submit(request(tenant, 0));
  await expect(door.submit(request(tenant, 1))).rejects.toMatchObject({
    code: 'QUEUE_FULL',
    retryAfterMs: 1000,
  });
  const waited = door.submit(request(tenant, 1), { waitMs: 10_000 });
  // Who does not wait is not made to by those who do.
  await expect(door.submit(request(tenant, 2))).rejects.toMatchObject({ code: 'QUEUE_FULL' });
  await leave(tenant);
  await expect(waited).resolves.toMatchObject({ deduplicated: false });
});

test('waiting ends after waitMs with QUEUE_FULL, for the first and for those behind it', async () => {
  const tenant = await makeTenant(pool, 'bounded', { maxQueued: 0, whenFull: 'wait' });
  const door = await openDoor();
  const startedAt = performance.now();
  const outcomes = await Promise.allSettled(
    [1, 2, 3].map((n) => door.submit(request(tenant, n), { waitMs: 300 })),
  );
  expect(performance.now() - startedAt).toBeLessThan(3000);
  for (const outcome of outcomes) {
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'QUEUE_FULL' } });
  }
  expect(await listRuns(pool, { tenantId: tenant })).toEqual([]);
});

test('waiting ends when its signal aborts, with the reason, and the next in line moves up', async () => {
  const tenant = await makeTenant(pool, 'impatient', { maxQueued: 1, whenFull: 'wait' });
  const door = await openDoor();
  await door.submit(request(tenant, 0));
  const stop = new AbortController();
  const first = door.submit(request(tenant, 1), { signal: stop.signal });
  await sleep(100);
  const second = door.submit(request(tenant, 2));
  await sleep(100);
  stop.abort(new Error('no longer wanted'));
  await expect(first).rejects.toThrow('no longer wanted');
  await leave(tenant);
  await second;
  expect((await queuedOf(tenant)).length).toBe(1);
});

test('waiting ends when the limit is raised', async () => {
  const tenant = await makeTenant(pool, 'raised', { maxQueued: 0, whenFull: 'wait' });
  const door = await openDoor();
  const waiting = door.submit(request(tenant, 1));
  await sleep(100);
  await upsertTenant(pool, tenantSchema.parse({ id: tenant, maxQueued: 1, whenFull: 'wait' }));
  await expect(waiting).resolves.toMatchObject({ deduplicated: false });
});

test('closing gives all waiting up', async () => {
  const tenant = await makeTenant(pool, 'closing', { maxQueued: 0, whenFull: 'wait' });
  const door = await openDoor();
  const waiting = expect(door.submit(request(tenant, 1))).rejects.toThrow('the client was closed');
  await sleep(100);
  door.close();
  await waiting;
});

test('one tenant that waits does not keep another waiting', async () => {
  const full = await makeTenant(pool, 'full', { maxQueued: 0, whenFull: 'wait' });
  const other = await makeTenant(pool, 'other', { maxQueued: 50, whenFull: 'wait' });
  const door = await openDoor();
  const stop = new AbortController();
  const waiting = Promise.allSettled(
    Array.from({ length: 50 }, (_, n) => door.submit(request(full, n), { signal: stop.signal })),
  );
  await Promise.all(Array.from({ length: 50 }, (_, n) => door.submit(request(other, n))));
  expect(await queuedOf(other)).toHaveLength(50);
  stop.abort();
  await waiting;
});
