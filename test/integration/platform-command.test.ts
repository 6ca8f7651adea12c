import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type Dockerode from 'dockerode';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startDemoService, type DemoService } from '../../controller/demo/service.ts';
import type { RunId } from '../../controller/model/ids.ts';
import { wormhole, type CliResult } from '../support/cli.ts';
import { dockerWithRunnerImage } from '../support/docker.ts';
import { describeWith } from '../support/requires.ts';

const MAIN = fileURLToPath(new URL('../../controller/cli/main.ts', import.meta.url));
const EXAMPLES = fileURLToPath(new URL('../../examples/', import.meta.url));
/** A machine that has to build the image first needs minutes. */
const START_MS = 600_000;

describeWith('wormhole up', dockerWithRunnerImage, (engine) => {
  let folder: string;
  let service: DemoService;
  let env: Record<string, string>;
  const started: ChildProcess[] = [];

  beforeAll(async () => {
    folder = mkdtempSync('/tmp/wh-up-');
    chmodSync(folder, 0o711);
    service = await startDemoService();
    mkdirSync(join(folder, 'state'));
    const { socketPath } = engine.modem as unknown as Dockerode.DockerOptions;
    env = {
      DOCKER_HOST: `unix://${socketPath ?? ''}`,
      WORMHOLE_STATE_DIR: join(folder, 'state'),
      WORMHOLE_RUN_DIR: join(folder, 'run'),
      WORMHOLE_LOG_LEVEL: 'warn',
    };
    const limits = { memoryMb: 128 };
    const egress = { mode: 'allowlist', allow: [{ host: 'crm.demo.internal', ports: [80] }] };
    const host = { host: 'crm.demo.internal', port: 80, address: service.address, targetPort: service.port };
    writeFileSync(
      join(folder, 'wormhole.yaml'),
      JSON.stringify({
        instance: `up-${folder.slice(-6).toLowerCase()}`,
        tenants: [{ id: 'acme', maxConcurrent: 2, limits, egress }],
        internalServices: [host],
      }),
    );
  });
  afterAll(async () => {
    for (const child of started) {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGTERM');
        await once(child, 'close');
      }
    }
    await service.stop();
    rmSync(folder, { recursive: true });
  });

  /** Starts the platform as a user does, and waits until it is ready. */
  async function up(): Promise<{ child: ChildProcess; exit: Promise<number | null> }> {
    const child = spawn(process.execPath, [MAIN, 'up', '--json', '--config', join(folder, 'wormhole.yaml')], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    started.push(child);
    const exit = once(child, 'close').then(([code]) => code as number | null);
    const errors = text(child.stderr);
    for await (const line of createInterface({ input: child.stdout })) {
      if ((JSON.parse(line) as { type: string }).type === 'ready') {
        child.stdout.resume();
        return { child, exit };
      }
    }
    throw new Error(`the platform did not start: ${await errors}`);
  }

  const run = (args: readonly string[], stdin = ''): Promise<CliResult> => wormhole(args, { env, stdin });
  const submit = (workflow: string, input: unknown, ...more: string[]): Promise<CliResult> =>
    run([
      ...['submit', join(EXAMPLES, `${workflow}.json`), '--tenant', 'acme', '--input', JSON.stringify(input)],
      ...['--json', ...more],
    ]);

  test(
    'runs what is submitted, tells its log and its end, and drains when it is stopped',
    async () => {
      const { child, exit } = await up();
      expect(statSync(join(folder, 'state', 'platform.json')).mode & 0o777).toBe(0o600);
      for (const [key, credentials] of Object.entries(service.connections)) {
        const set = await run(
          ['connection', 'set', key, '-', '--tenant', 'acme'],
          JSON.stringify(credentials),
        );
        expect(set.stderr).toBe('');
      }

      const followed = await submit('contact-sync', { amount: 7 }, '--follow');
      expect(followed.stderr).toBe('');
      expect(followed.exitCode).toBe(0);
      const events = followed.events();
      expect(events.map(({ type }) => type)).toContain('status');
      expect(events.filter(({ type }) => type === 'log').length).toBeGreaterThan(5);
      expect(events.at(-1)).toMatchObject({
        type: 'ended',
        run: { status: 'SUCCESS', output: { amount: 7 } },
      });
      const { runId } = events[0] as { runId: RunId };
      const everything = followed.stdout + (await run(['logs', runId])).stdout;
      const secrets = Object.values(service.connections).flatMap(secretsOf);
      expect(secrets).toHaveLength(4);
      expect(secrets.filter((secret) => everything.includes(secret))).toEqual([]);

      expect((await submit('rejected-order', { quantity: 0 }, '--follow')).exitCode).toBe(10);

      const doctor = await run(['doctor', '--json', '--config', join(folder, 'wormhole.yaml')]);
      expect(doctor.exitCode).toBe(0);
      expect(JSON.stringify(doctor.json())).toContain(`runs as process ${child.pid}`);

      const twice = await run(['up', '--json', '--config', join(folder, 'wormhole.yaml')]);
      expect(twice.exitCode).toBe(2);
      expect(twice.stderr).toContain('runs already');

      const long = (await submit('long-wait', { ms: 3000 })).json() as { runId: RunId };
      await running(long.runId);
      child.kill('SIGINT');
      expect(await exit).toBe(0);
      expect((await run(['ls'])).exitCode).toBe(5);

      const again = await up();
      expect((await run(['show', long.runId, '--json'])).json()).toMatchObject({ status: 'SUCCESS' });
      again.child.kill('SIGINT');
      await again.exit;
    },
    START_MS,
  );

  test(
    'that was killed is not taken for running, and its successor leads live runs to their end',
    async () => {
      const killed = await up();
      // A request that the controller's end cuts off is made again by the runner, if the workflow says so.
      const patient = join(folder, 'patient.json');
      const action = {
        type: 'HTTP',
        method: 'GET',
        endpointTemplate: 'http://crm.demo.internal/slow?ms=4000',
      };
      const retry = { strategy: 'FIXED', attempts: 20, initialDelayMs: 1000 };
      const steps = [{ key: 'wait', action: { ...action, retry } }];
      writeFileSync(patient, JSON.stringify({ name: 'patient', steps }));
      const submitted = await run(['submit', patient, '--tenant', 'acme', '--json']);
      const { runId } = submitted.json() as { runId: RunId };
      await running(runId);
      killed.child.kill('SIGKILL');
      await killed.exit;
      const gone = await run(['ls']);
      expect(gone.exitCode).toBe(5);
      expect(readFileSync(join(folder, 'state', 'platform.json'), 'utf8')).toContain(
        String(killed.child.pid),
      );

      const next = await up();
      const followed = await run(['logs', runId, '--follow', '--json']);
      expect(followed.events().at(-1)).toMatchObject({ run: { status: 'SUCCESS', attempt: 1 } });
      next.child.kill('SIGINT');
      expect(await next.exit).toBe(0);
    },
    START_MS,
  );

  test(
    'interrupted twice does not wait for live runs',
    async () => {
      const { child, exit } = await up();
      const { runId } = (await submit('long-wait', { ms: 60_000 })).json() as { runId: RunId };
      await running(runId);
      const stoppedAt = Date.now();
      child.kill('SIGINT');
      await expect.poll(async () => (await run(['ls'])).exitCode).toBe(5);
      // What comes at once after the first counts as the same Ctrl-C.
      await delay(500);
      child.kill('SIGINT');
      expect(await exit).toBe(0);
      expect(Date.now() - stoppedAt).toBeLessThan(25_000);
    },
    START_MS,
  );

  async function running(runId: RunId): Promise<void> {
    await expect
      .poll(async () => ((await run(['show', runId, '--json'])).json() as { status: string }).status, {
        timeout: 30_000,
      })
      .toBe('RUNNING');
  }
});

/** @returns the values of credentials that nobody may see. */
function secretsOf(credentials: unknown): string[] {
  if (typeof credentials !== 'object' || credentials === null) return [];
  const { value, password, clientSecret, headers } = credentials as Record<string, unknown>;
  const inHeaders: unknown[] = Object.values((headers ?? {}) as Record<string, unknown>);
  return [value, password, clientSecret, ...inHeaders].filter((secret) => typeof secret === 'string');
}
