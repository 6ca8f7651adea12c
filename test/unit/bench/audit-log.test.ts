import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AuditLog } from '../../../bench/audit-log.ts';
import { summary } from '../../../bench/submission.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'audit-'));
});
afterAll(() => rm(folder, { recursive: true }));

const line = (name: string, received: string, answered: string, user = 'controller'): string =>
  `${JSON.stringify({
    verb: 'create',
    user: { username: user },
    objectRef: { resource: 'jobs', namespace: 'a', name, apiGroup: 'batch', apiVersion: 'v1' },
    responseStatus: { code: 201 },
    requestReceivedTimestamp: `2026-01-01T00:00:${received}Z`,
    stageTimestamp: `2026-01-01T00:00:${answered}Z`,
  })}\n`;

test('every write of interest is read once, also those of a file that was rotated', async () => {
  const path = join(folder, 'audit.log');
  await writeFile(path, line('one', '01.000000', '01.250750'));
  await using log = await AuditLog.open(path);
  const names = async (): Promise<string[]> => (await log.read('"controller"')).map(({ name }) => name);
  expect(await names()).toEqual(['one']);
  const whole = line('two', '02.0', '02.1');
  await appendFile(path, line('other', '02.0', '02.1', 'kubelet') + whole.slice(0, 40));
  expect(await names()).toEqual([]);
  await appendFile(path, whole.slice(40));
  await rename(path, join(folder, 'audit-1.log'));
  await writeFile(path, line('three', '03.0', '03.1'));
  expect(await names()).toEqual(['two', 'three']);
  expect(await names()).toEqual([]);
});

test('a rate is that of what was created, from the first request to the last answer', async () => {
  const path = join(folder, 'rates.log');
  await writeFile(path, line('one', '01.000000', '01.500500') + line('two', '01.500500', '03.000000'));
  await using log = await AuditLog.open(path);
  const writes = await log.read('"jobs"');
  expect(writes[0]?.answered).toBeCloseTo(Date.parse('2026-01-01T00:00:01.500Z') + 0.5, 3);
  expect(summary(writes, 2)).toEqual({ jobs: 2, seconds: 2, inFlight: 1 });
  expect(() => summary(writes, 3)).toThrow('created 2 Jobs, and 3 were wanted');
});
