import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Interrupt } from '../../controller/cli/interrupt.ts';
import { shortId } from '../../controller/cli/find-run.ts';
import { connectClient, type Client } from '../../controller/client.ts';
import { deadLetterOf, DeadLetters } from '../../controller/intake/dead-letters.ts';
import type { RunId } from '../../controller/model/ids.ts';
import { tenantSchema } from '../../controller/model/tenant.ts';
import { openQueueServer } from '../../controller/queue/queue-server.ts';
import { wormhole, type CliResult } from '../support/cli.ts';
import { cloneDatabase } from '../support/database.ts';

const database = await cloneDatabase();
const acme = tenantSchema.parse({ id: 'acme', maxQueued: 12 });
const globex = tenantSchema.parse({ id: 'globex', maxQueued: 1 });
const encryptionKeys = `test:${randomBytes(32).toString('base64')}`;
const HOSTILE_NAME = 'a\u001b[2J\u009b31m"evil\u202e';

let folder: string;
let client: Client;
let env: Record<string, string>;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'wormhole-test-'));
  env = { DATABASE_URL: database.url, WORMHOLE_STATE_DIR: folder, WORMHOLE_ENCRYPTION_KEYS: encryptionKeys };
  client = await connectClient({ databaseUrl: database.url, encryptionKeys });
  await client.applyTenants([acme, globex]);
  writeFileSync(join(folder, 'workflow.json'), JSON.stringify(definition('sample')));
  writeFileSync(join(folder, 'hostile.json'), JSON.stringify(definition(HOSTILE_NAME)));
});
afterAll(async () => {
  await client.close();
  rmSync(folder, { recursive: true });
});

const definition = (name: string): unknown => ({
  name,
  steps: [{ key: 'call', action: { type: 'HTTP', method: 'GET', endpointTemplate: 'http://crm.example/' } }],
});

const run = (args: readonly string[], stdin = ''): Promise<CliResult> => wormhole(args, { env, stdin });
const submit = (...more: string[]): Promise<CliResult> =>
  run(['submit', join(folder, 'workflow.json'), '--tenant', 'acme', '--json', ...more]);
const submitted = async (...more: string[]): Promise<RunId> =>
  ((await submit(...more)).json() as { runId: RunId }).runId;
const errorOf = (result: CliResult): { code: string; message: string; retryAfterMs?: number } =>
  (JSON.parse(result.stderr) as { error: { code: string; message: string } }).error;

describe('submit', () => {
  test('records a QUEUED run with its input', async () => {
    const runId = await submitted('--input', '{"amount": 42}');
    expect(await client.run(runId)).toMatchObject({ status: 'QUEUED', input: { amount: 42 } });
    await client.cancel(runId);
  });

  test('reads the input from a file or standard input', async () => {
    const file = join(folder, 'input.json');
    writeFileSync(file, '{"from": "file"}');
    const fromFile = await submitted('--input', `@${file}`);
    const args = ['submit', join(folder, 'workflow.json'), '--tenant', 'acme', '--json', '--input', '-'];
    const { runId } = (await run(args, '{"from": "stdin"}')).json() as { runId: RunId };
    expect((await client.run(fromFile)).input).toEqual({ from: 'file' });
    expect((await client.run(runId)).input).toEqual({ from: 'stdin' });
    await Promise.all([client.cancel(fromFile), client.cancel(runId)]);
  });

  test('with the same idempotency key is the same run', async () => {
    const first = await submitted('--idempotency-key', 'order-1');
    const second = await submit('--idempotency-key', 'order-1');
    expect(second.json()).toEqual({ runId: first, deduplicated: true });
    const conflict = await submit('--idempotency-key', 'order-1', '--input', '{"other": 1}');
    expect(conflict.exitCode).toBe(2);
    expect(errorOf(conflict).code).toBe('IDEMPOTENCY_CONFLICT');
    await client.cancel(first);
  });

  test('for a tenant that does not exist says so, and exits with 3', async () => {
    const result = await run(['submit', join(folder, 'workflow.json'), '--tenant', 'nobody']);
    expect(result.exitCode).toBe(3);
    expect(result.stderr).toMatch(/^wormhole: TENANT_NOT_FOUND: .*nobody.*\n$/);
  });

  test('into a full queue says when to try again, and exits with 4', async () => {
    const args = ['submit', join(folder, 'workflow.json'), '--tenant', 'globex', '--json'];
    const { runId } = (await run(args)).json() as { runId: RunId };
    const full = await run(args);
    expect(full.exitCode).toBe(4);
    expect(errorOf(full).code).toBe('QUEUE_FULL');
    expect(errorOf(full).retryAfterMs).toBeGreaterThan(0);
    await client.cancel(runId);
  });

  test('--follow tells the end, and its exit code tells how', async () => {
    const following = submit('--follow');
    let runId: RunId | undefined;
    while (runId === undefined) runId = (await client.runs({ status: 'QUEUED', tenantId: acme.id }))[0]?.id;
    await client.cancel(runId);
    const result = await following;
    expect(result.exitCode).toBe(12);
    const events = result.events();
    expect(events[0]).toMatchObject({ type: 'submitted', runId });
    expect(events.at(-1)).toMatchObject({ type: 'ended', run: { status: 'CANCELED', reason: 'CANCELED' } });
  });

  test('--follow that is interrupted leaves the run alone, and exits with 130', async () => {
    const interrupt = new Interrupt();
    const args = ['submit', join(folder, 'workflow.json'), '--tenant', 'acme', '--follow'];
    const following = wormhole(args, { env, interrupt });
    let runId: RunId | undefined;
    while (runId === undefined) runId = (await client.runs({ status: 'QUEUED', tenantId: acme.id }))[0]?.id;
    interrupt.signal('SIGINT');
    const result = await following;
    expect(result.exitCode).toBe(130);
    expect(result.stderr).toContain('the run goes on');
    expect((await client.run(runId)).status).toBe('QUEUED');
    await client.cancel(runId);
  });
});

describe('a run', () => {
  let runId: RunId;
  beforeAll(async () => {
    runId = await submitted();
  });
  afterAll(() => client.cancel(runId).catch(() => undefined));

  test('is shown whole with --json, and for people', async () => {
    expect((await run(['show', runId, '--json'])).json()).toMatchObject({
      id: runId,
      status: 'QUEUED',
      steps: [],
    });
    const { stdout } = await run(['show', runId]);
    expect(stdout).toContain(runId);
    expect(stdout).toContain('sample (version 1)');
  });

  test('is found by the end or the beginning of its id', async () => {
    expect((await run(['show', shortId(runId), '--json'])).json()).toMatchObject({ id: runId });
    expect((await run(['show', runId.slice(0, 35), '--json'])).json()).toMatchObject({ id: runId });
  });

  test.each([
    ['zzzz', 'is no run id'],
    ['0', 'at least 4 characters'],
    ['ffffffff', 'none of the'],
    ["'; DROP TABLE workflow_runs; --", 'is no run id'],
    ['00000000-0000-4000-8000-000000000000', 'does not exist'],
  ])('that is not there (%s) is RUN_NOT_FOUND, exit code 3', async (id, message) => {
    for (const command of ['show', 'logs', 'cancel', 'rerun']) {
      const result = await run([command, id, '--json']);
      expect(result.exitCode).toBe(3);
      expect(errorOf(result).code).toBe('RUN_NOT_FOUND');
      expect(errorOf(result).message).toContain(message);
    }
  });

  test('that an ambiguous part means is not guessed', async () => {
    const other = await submitted();
    const common = runId.slice(0, 6);
    const result = await run(['show', common, '--json']);
    expect(errorOf(result)).toMatchObject({ code: 'RUN_NOT_FOUND' });
    expect(errorOf(result).message).toContain('give more of the id');
    await client.cancel(other);
  });

  test('has an empty log before it starts', async () => {
    expect((await run(['logs', runId, '--json'])).json()).toEqual([]);
  });

  test('is canceled, once', async () => {
    expect((await run(['cancel', shortId(runId), '--json'])).exitCode).toBe(0);
    expect(await client.run(runId)).toMatchObject({ status: 'CANCELED' });
    const again = await run(['cancel', runId, '--json']);
    expect(again.exitCode).toBe(3);
    expect(errorOf(again).code).toBe('RUN_ALREADY_ENDED');
  });

  test('is submitted once more by rerun', async () => {
    const result = (await run(['rerun', runId, '--json'])).json() as { runId: RunId; rerunOf: RunId };
    expect(result.rerunOf).toBe(runId);
    expect(await client.run(result.runId)).toMatchObject({ status: 'QUEUED', rerunOf: runId });
    await client.cancel(result.runId);
  });

  test('that ended is followed to its end at once', async () => {
    const result = await run(['logs', runId, '--follow', '--json']);
    expect(result.exitCode).toBe(12);
    expect(result.events().at(-1)).toMatchObject({ type: 'ended' });
  });
});

describe('ls', () => {
  test('filters by tenant and status, newest first', async () => {
    const first = await submitted();
    const second = await submitted();
    const listed = (await run(['ls', '--tenant', 'acme', '--status', 'QUEUED', '--json'])).json();
    expect((listed as { id: RunId }[]).map(({ id }) => id)).toEqual([second, first]);
    expect((await run(['ls', '--status', 'RUNNING', '--json'])).json()).toEqual([]);
    await Promise.all([client.cancel(first), client.cancel(second)]);
  });

  test('prints nothing of a workflow name that a terminal would obey', async () => {
    const args = ['submit', join(folder, 'hostile.json'), '--tenant', 'acme', '--json'];
    const { runId } = (await run(args)).json() as { runId: RunId };
    for (const command of [['ls'], ['show', runId], ['ls', '--json'], ['show', runId, '--json']]) {
      const { stdout } = await run(command);
      expect(stdout).toContain('evil');
      expect(stdout.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\u202e]/u);
    }
    const [listed] = (await run(['ls', '--limit', '1', '--json'])).json() as { workflowName: string }[];
    expect(listed?.workflowName).toBe(HOSTILE_NAME);
    await client.cancel(runId);
  });
});

test('tenants shows caps and use', async () => {
  const runId = await submitted();
  expect((await run(['tenants', '--json'])).json()).toMatchObject([
    { id: 'acme', queued: 1, running: 0, maxQueued: 12 },
    { id: 'globex', queued: 0 },
  ]);
  expect((await run(['tenants'])).stdout).toContain('1 of 12');
  await client.cancel(runId);
});

describe('tenants', () => {
  afterAll(() => client.applyTenants([acme, globex]));

  test('pause and resume are shown', async () => {
    expect((await run(['tenants', 'pause', 'acme', '--json'])).json()).toEqual({
      tenantId: 'acme',
      paused: true,
    });
    expect((await run(['tenants'])).stdout).toContain('(paused)');
    expect((await run(['tenants', 'resume', 'acme'])).stdout).toContain('resumed');
    expect((await run(['tenants'])).stdout).not.toContain('(paused)');
    const nobody = await run(['tenants', 'pause', 'nobody', '--json']);
    expect(nobody.exitCode).toBe(3);
    expect(errorOf(nobody).code).toBe('TENANT_NOT_FOUND');
  });

  const file = (): string => join(folder, 'declared.yaml');
  const declare = (text: string): void => writeFileSync(file(), text);
  const acmeIs = async () => (await client.tenants()).find(({ id }) => id === 'acme');

  test('apply brings a changed file into force and tells what that changes, once', async () => {
    declare(`
maxConcurrent: 33
tenants:
  - { id: acme, maxQueued: 12, weight: 7, startRate: { max: 3 } }
  - { id: initech }
`);
    const dry = await run(['tenants', 'apply', file(), '--dry-run', '--json']);
    expect(dry.json()).toMatchObject({
      platform: [{ setting: 'maxConcurrent', to: 33 }],
      added: [{ id: 'initech' }],
      changed: [
        {
          settings: [
            { setting: 'weight', from: 1, to: 7 },
            { setting: 'startRate', to: { max: 3, durationMs: 1000 } },
          ],
        },
      ],
      unchanged: [],
      undeclared: ['globex'],
    });
    expect(await acmeIs()).toMatchObject({ weight: 1 });
    await client.setPaused(acme.id, true);
    const applied = await run(['tenants', 'apply', file()]);
    expect(applied.stdout).toContain('~ acme: weight 1 → 7');
    expect(applied.stdout).toContain('1 added, 1 changed, 0 unchanged');
    const now = await acmeIs();
    expect(now).toMatchObject({ weight: 7, startRate: { max: 3, durationMs: 1000 } });
    expect(now?.pausedAt).toBeInstanceOf(Date);
    await client.setPaused(acme.id, false);
    const again = await run(['tenants', 'apply', file(), '--json']);
    expect(again.json()).toMatchObject({
      platform: [],
      added: [],
      changed: [],
      unchanged: ['acme', 'initech'],
    });
  });

  test('apply refuses a file with anything wrong in it as a whole', async () => {
    declare('tenants:\n  - { id: acme, weight: 9 }\n  - { id: hooli, weight: 0 }\n');
    const result = await run(['tenants', 'apply', file(), '--json']);
    expect(result.exitCode).toBe(2);
    expect(errorOf(result)).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(errorOf(result).message).toContain('tenants[1].weight');
    expect(await acmeIs()).toMatchObject({ weight: 7 });
    expect((await run(['tenants', 'apply', join(folder, 'absent.yaml')])).exitCode).toBe(2);
  });
});

describe('submit --wait', () => {
  test('waits for a place, and exits with 4 when there is none in time', async () => {
    const args = ['submit', join(folder, 'workflow.json'), '--tenant', 'globex', '--json'];
    const { runId } = (await run(args)).json() as { runId: RunId };
    const late = await run([...args, '--wait', '1']);
    expect(late.exitCode).toBe(4);
    expect(errorOf(late).code).toBe('QUEUE_FULL');
    const waiting = run([...args, '--wait', '30']);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await client.cancel(runId);
    const submittedLate = await waiting;
    expect(submittedLate.exitCode).toBe(0);
    await client.cancel((submittedLate.json() as { runId: RunId }).runId);
  });

  test('is interrupted by Ctrl-C', async () => {
    const args = ['submit', join(folder, 'workflow.json'), '--tenant', 'globex', '--json'];
    const { runId } = (await run(args)).json() as { runId: RunId };
    const interrupt = new Interrupt();
    const waiting = wormhole([...args, '--wait', '30'], { env, interrupt });
    setTimeout(() => interrupt.signal('SIGINT'), 300);
    expect((await waiting).exitCode).toBe(130);
    await client.cancel(runId);
  });
});

describe('dlq', () => {
  let failed: RunId;
  let letterId: string;
  beforeAll(async () => {
    failed = await submitted('--input', '{"secret": "hunter2"}');
    await client.cancel(failed);
    const server = openQueueServer({
      databaseUrl: database.url,
      maxConnections: 2,
      onError: () => undefined,
    });
    const deadLetters = new DeadLetters(server);
    const verdict = {
      status: 'FAILED',
      reason: 'RETRIES_EXHAUSTED',
      message: HOSTILE_NAME,
      infrastructure: false,
    } as const;
    const letter = deadLetterOf({ runId: failed, tenantId: acme.id, attempt: 3, verdict, final: true })!;
    await deadLetters.add(letter);
    letterId = letter.id;
    await deadLetters.close();
    await server.close();
  });

  test('ls and show tell why, for people and programs, by tenant, without the payload', async () => {
    expect((await run(['dlq', 'ls', '--tenant', 'acme', '--json'])).json()).toMatchObject([
      { id: letterId, runId: failed, code: 'RETRIES_EXHAUSTED' },
    ]);
    expect((await run(['dlq', 'ls', '--tenant', 'globex', '--json'])).json()).toEqual([]);
    expect((await run(['dlq', 'show', letterId, '--json'])).json()).toMatchObject({ attempts: 3 });
    for (const args of [['ls'], ['show', letterId]]) {
      const { stdout } = await run(['dlq', ...args]);
      expect(stdout).toContain('RETRIES_EXHAUSTED');
      expect(stdout).not.toContain('hunter2');
      expect(stdout.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\u202e]/u);
    }
  });

  test('retry makes a new run of it, and the letter is gone', async () => {
    const [retried] = (await run(['dlq', 'retry', letterId, '--json'])).json() as { runId: RunId }[];
    expect(await client.run(retried!.runId)).toMatchObject({ rerunOf: failed, input: { secret: 'hunter2' } });
    await client.cancel(retried!.runId);
    for (const command of ['show', 'retry', 'drop']) {
      const gone = await run(['dlq', command, letterId, '--json']);
      expect(gone.exitCode).toBe(3);
      expect(errorOf(gone).code).toBe('DEAD_LETTER_NOT_FOUND');
    }
  });
});

describe('connection', () => {
  const secret = { kind: 'API_KEY', in: 'header', name: 'X-API-Key', value: 'hunter2' };

  test('is stored from standard input, listed without its secret, and removed', async () => {
    const stored = await run(['connection', 'set', 'crm', '-', '--tenant', 'acme'], JSON.stringify(secret));
    expect(stored.exitCode).toBe(0);
    const listed = await run(['connection', 'ls', '--tenant', 'acme', '--json']);
    expect(listed.json()).toMatchObject([{ key: 'crm', kind: 'API_KEY' }]);
    expect(stored.stdout + listed.stdout).not.toContain('hunter2');
    expect((await run(['connection', 'rm', 'crm', '--tenant', 'acme'])).exitCode).toBe(0);
    const gone = await run(['connection', 'rm', 'crm', '--tenant', 'acme', '--json']);
    expect(errorOf(gone).code).toBe('CONNECTION_NOT_FOUND');
  });

  test.each([
    ['{"kind": "API_KEY", "value": 17, "secret": "hunter2"}'],
    ['{"kind": "BASIC", "username": "u", "password": ["hunter2"]}'],
    ['"hunter2"'],
    ['hunter2'],
  ])('that is wrong is refused, and never shown: %s', async (text) => {
    const result = await run(['connection', 'set', 'crm', '-', '--tenant', 'acme', '--json'], text);
    expect(result.exitCode).toBe(2);
    expect(errorOf(result).code).toBe('PAYLOAD_INVALID');
    expect(result.stderr).not.toContain('hunter2');
  });

  test('is not sealed with keys that the platform does not have', async () => {
    const result = await wormhole(['connection', 'set', 'crm', '-', '--tenant', 'acme', '--json'], {
      env: { DATABASE_URL: database.url, WORMHOLE_STATE_DIR: folder },
      stdin: JSON.stringify(secret),
    });
    expect(errorOf(result).code).toBe('ENCRYPTION_KEY_INVALID');
  });
});

test('a database that does not answer is one line and exit code 5', async () => {
  const result = await wormhole(['ls'], {
    env: { DATABASE_URL: 'postgresql://user:hunter2@127.0.0.1:1/none', WORMHOLE_STATE_DIR: folder },
  });
  expect(result.exitCode).toBe(5);
  expect(result.stderr).toMatch(/^wormhole: DATABASE_UNAVAILABLE: .*\n$/);
  expect(result.stderr).not.toContain('hunter2');
});
