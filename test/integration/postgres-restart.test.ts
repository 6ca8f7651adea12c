import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type Dockerode from 'dockerode';
import { expect, test } from 'vitest';
import { connectClient } from '../../controller/client.ts';
import { tenantIdSchema } from '../../controller/model/ids.ts';
import { startPostgres } from '../../controller/setup/postgres.ts';
import { dockerWithRunnerImage } from '../support/docker.ts';
import { callFarSide, startFarSide } from '../support/far-side.ts';
import { assertNothingLeft, testConfig } from '../support/platform.ts';
import { PlatformProcess } from '../support/platform-process.ts';
import { describeWith } from '../support/requires.ts';

const acme = tenantIdSchema.parse('acme');
const AWAY_MS = 3_000;

describeWith('PostgreSQL restarted under a platform', dockerWithRunnerImage, (engine: Dockerode) => {
  test('live runs end as they would have, queued ones follow, each once', async () => {
    await using cleanup = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), 'wh-pg-'));
    cleanup.defer(() => rm(folder, { recursive: true, force: true }));
    await chmod(folder, 0o711);
    const farSide = await startFarSide();
    cleanup.defer(() => farSide.stop());
    const lent = await testConfig({
      docker: engine,
      databaseUrl: '',
      tenants: { acme: 2 },
      services: [farSide.service],
    });
    cleanup.defer(() => assertNothingLeft(engine, lent));
    const start = () =>
      startPostgres({
        dir: join(folder, 'pg'),
        cacheDir: lent.paths.cacheDir,
        log: () => undefined,
        durable: false,
      });
    let postgres = await start();
    cleanup.defer(() => postgres.stop());
    const config = { ...lent, databaseUrl: postgres.url };
    const platform = await PlatformProcess.start(config);
    cleanup.defer(() => platform.stop());
    const client = await connectClient({
      databaseUrl: postgres.url,
      encryptionKeys: config.encryptionKeys ?? '',
    });
    cleanup.defer(() => client.close());

    const submit = async (query: string) =>
      (await client.submit({ tenantId: acme, definition: callFarSide(query), input: {} })).runId;
    const runs = [
      await submit('?ms=5000'),
      await submit('?ms=100'),
      await submit('?ms=100'),
      await submit('?ms=100'),
    ];
    await expect.poll(() => farSide.calls.length, { timeout: 20_000 }).toBeGreaterThan(0);
    await postgres.stop();
    await sleep(AWAY_MS);
    postgres = await start();

    const ended = await Promise.all(runs.map((runId) => client.waitFor(runId, AbortSignal.timeout(60_000))));
    expect(ended.map(({ status }) => status)).toEqual(runs.map(() => 'SUCCESS'));
    expect([...farSide.calls].sort()).toEqual(runs.map((runId) => `${runId}/call`).sort());
  });
});
