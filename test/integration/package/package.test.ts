import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tenantIdSchema } from '../../../controller/model/ids.ts';
import { INTAKE_QUEUE } from '../../../controller/queue/names.ts';
import { openQueueServer } from '../../../controller/queue/queue-server.ts';
import { findRun } from '../../../controller/store/runs.ts';
import { runIdSchema } from '../../../controller/model/ids.ts';
import { cloneDatabase } from '../../support/database.ts';
import { describeWith, redis } from '../../support/requires.ts';
import { makeTenant, queueRun } from '../../support/runs.ts';

const run = promisify(execFile);
const PROJECT = fileURLToPath(new URL('../../../', import.meta.url));
const database = await cloneDatabase();

let folder: string;
let workflowVersionId: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wormhole-package-'));
  await install(await pack());
  const acme = await makeTenant(database.pool, 'acme');
  const runId = await queueRun(database.pool, acme);
  workflowVersionId = (await findRun(database.pool, runId))!.workflowVersionId;
}, 400_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

/** @returns the path of the package as it would be published. */
async function pack(): Promise<string> {
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', folder], { cwd: PROJECT });
  const packed = JSON.parse(stdout) as readonly { filename: string }[] | Record<string, { filename: string }>;
  return join(folder, Object.values(packed)[0]!.filename);
}

/** Installs the package into a project of its own; its dependencies are those of this checkout, so no network is needed. */
async function install(archive: string): Promise<void> {
  const modules = join(folder, 'node_modules');
  const own = join(modules, 'wormhole-isolation');
  await mkdir(own, { recursive: true });
  await run('tar', ['-xzf', archive, '-C', own, '--strip-components=1']);
  const { dependencies } = JSON.parse(readFileSync(join(own, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  for (const name of [...Object.keys(dependencies), '@types/node', '@types/pg']) {
    const link = join(modules, name);
    await mkdir(dirname(link), { recursive: true });
    await symlink(join(PROJECT, 'node_modules', name), link);
  }
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'producer', type: 'module' }));
}

/** Runs a program that docs/producers.md shows. @returns what it printed. */
async function runShown(name: string, env: Record<string, string>): Promise<string> {
  const text = readFileSync(join(PROJECT, 'docs', 'producers.md'), 'utf8');
  const program = new RegExp(`\`\`\`js ${name}\\n(.*?)\`\`\``, 's').exec(text)?.[1];
  const file = join(folder, `${name}.js`);
  await writeFile(file, program ?? `throw new Error('docs/producers.md has no program "${name}"')`);
  const { stdout } = await run(process.execPath, [file], {
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '', WORKFLOW_VERSION_ID: workflowVersionId, ...env },
    timeout: 60_000,
  });
  return stdout.trim();
}

describe('the packed package', () => {
  test('submits a run from plain JavaScript, as docs/producers.md shows', async () => {
    const first = await runShown('library', { DATABASE_URL: database.url });
    const recorded = await findRun(database.pool, runIdSchema.parse(first));
    expect(recorded).toMatchObject({ status: 'QUEUED', tenantId: 'acme', input: { order: 4711 } });
    // The same idempotency key.
    expect(await runShown('library', { DATABASE_URL: database.url })).toBe(first);
  });

  test('tells its hint when the queue is full, as docs/producers.md shows', async () => {
    await makeTenant(database.pool, 'acme', { maxQueued: 0 });
    await database.pool.query("UPDATE workflow_runs SET idempotency_key = NULL WHERE tenant_id = 'acme'");
    expect(await runShown('library', { DATABASE_URL: database.url })).toMatch(/try again in \d+ ms/);
    await makeTenant(database.pool, tenantIdSchema.parse('acme'));
  }, 120_000);

  test('has the constructs, and the schemas', async () => {
    const program = `
      import { RunJob } from 'wormhole-isolation/constructs';
      import job from 'wormhole-isolation/workflow-runs-job.schema.json' with { type: 'json' };
      console.log(typeof RunJob, job.title);`;
    await writeFile(join(folder, 'constructs.js'), program);
    const { stdout } = await run(process.execPath, [join(folder, 'constructs.js')]);
    expect(stdout.trim()).toBe('function Job of the queue workflow_runs');
  });

  test('has types', async () => {
    const program = `
      import { connectClient, tenantIdSchema, type RunDetail } from 'wormhole-isolation';
      const client = await connectClient({ databaseUrl: '' });
      const { runId } = await client.submit({ tenantId: tenantIdSchema.parse('acme'), definition: {}, input: {} });
      const run: RunDetail = await client.run(runId);
      // @ts-expect-error: no such status
      const never: 'NO_SUCH_STATUS' = run.status;
      export { never };`;
    await writeFile(join(folder, 'typed.ts'), program);
    const options = ['--module', 'nodenext', '--target', 'es2024', '--strict', '--skipLibCheck', '--noEmit'];
    const tsc = join(PROJECT, 'node_modules', 'typescript', 'bin', 'tsc');
    const { stdout } = await run(process.execPath, [tsc, ...options, 'typed.ts'], { cwd: folder }).catch(
      (error: unknown) => error as { stdout: string },
    );
    expect(stdout).toBe('');
  }, 180_000);

  test('holds no source, no test and nothing of this machine', async () => {
    const { stdout } = await run('find', [join(folder, 'node_modules', 'wormhole-isolation'), '-type', 'f']);
    const files = stdout.trim().split('\n');
    expect(files.filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))).toEqual([]);
    expect(files.filter((file) => file.includes('/test/'))).toEqual([]);
    for (const file of files) expect(readFileSync(file, 'utf8').includes(PROJECT)).toBe(false);
  });
});

describe('a plain BullMQ producer, as docs/producers.md shows it', () => {
  shown('bullmq-postgresql', undefined, { DATABASE_URL: database.url });
  describeWith('on Redis', redis, (redisUrl) => shown('bullmq-redis', redisUrl, { REDIS_URL: redisUrl }));
});

function shown(name: string, redisUrl: string | undefined, env: Record<string, string>): void {
  test(`${name} adds a job that intake finds`, async () => {
    const jobId = await runShown(name, env);
    const server = openQueueServer({
      databaseUrl: database.url,
      redisUrl,
      maxConnections: 2,
      onError: () => undefined,
    });
    const queue = server.queue<unknown>(INTAKE_QUEUE);
    try {
      expect((await queue.getJob(jobId))?.data).toMatchObject({ tenantId: 'acme', workflowVersionId });
    } finally {
      await queue.close();
      await server.close();
    }
  });
}
