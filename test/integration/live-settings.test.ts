import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { loadConfig } from '../../controller/config.ts';
import { followSettings } from '../../controller/live-settings.ts';
import { tenantIdSchema } from '../../controller/model/ids.ts';
import { readDemand } from '../../controller/store/demand.ts';
import { getTenant } from '../../controller/store/tenants.ts';
import { cloneDatabase } from '../support/database.ts';

const database = cloneDatabase();
const acme = tenantIdSchema.parse('acme');
const PATIENCE = { timeout: 15_000, interval: 100 };

test('a changed file is in force without a restart, and one that is wrong changes nothing', async () => {
  const { pool } = await database;
  const folder = await mkdtemp(join(tmpdir(), 'wormhole-settings-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, 'wormhole.yaml');
  const declare = (text: string): Promise<void> => writeFile(file, text);
  const maxConcurrent = async () => (await getTenant(pool, acme)).maxConcurrent;

  await declare('tenants: [{ id: acme, maxConcurrent: 2 }]');
  const config = loadConfig({ env: {}, file });
  // Changed while this controller stood by.
  await declare('tenants: [{ id: acme, maxConcurrent: 3 }]');
  const stop = new AbortController();
  const lines: string[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(line) });
  const { followed } = await followSettings(pool, config, { log, signal: stop.signal });
  onTestFinished(async () => {
    stop.abort();
    await followed;
  });
  expect(await maxConcurrent()).toBe(3);

  await declare(
    'maxConcurrent: 7\nstartRate: { max: 4 }\ntenants: [{ id: acme, maxConcurrent: 5, weight: 2 }]',
  );
  await expect.poll(maxConcurrent, PATIENCE).toBe(5);
  expect(await readDemand(pool)).toMatchObject({ maxConcurrent: 7, startRate: { max: 4, durationMs: 1000 } });

  await declare('tenants: [{ id: acme, maxConcurrent: many }]');
  await expect.poll(() => lines.filter((line) => line.includes('not applied')).length, PATIENCE).toBe(1);
  expect(lines.at(-1)).toContain('tenants[0].maxConcurrent');
  expect(await maxConcurrent()).toBe(5);

  await declare('tenants: [{ id: acme, maxConcurrent: 6 }]');
  await expect.poll(maxConcurrent, PATIENCE).toBe(6);
});
