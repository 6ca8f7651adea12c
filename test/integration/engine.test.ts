import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Dockerode from 'dockerode';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connectEngine } from '../../controller/setup/engine.ts';
import { inspectEngine, warningsOf } from '../../controller/setup/engine-facts.ts';
import { Leases } from '../../controller/setup/leases.ts';
import { withLock } from '../../controller/setup/lock.ts';
import { PrivateEngine } from '../../controller/setup/private-engine.ts';
import type { Availability } from '../support/availability.ts';
import { engine } from '../support/engine.ts';
import { probeImage } from '../support/probe-image.ts';
import { describeWith } from '../support/requires.ts';

const silent = () => undefined;
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'engine-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe.runIf(process.platform === 'linux')('leases', () => {
  test('count every use, and one process may have several', () => {
    const leases = new Leases(folder);
    const [first, second] = [leases.take(), leases.take()];
    expect(leases.live().sort()).toEqual([first, second].sort());
    leases.drop(first);
    leases.drop(first);
    expect(leases.live()).toEqual([second]);
  });

  test('of a dead process do not count and are forgotten', async () => {
    const child = spawn('sleep', ['60']);
    await once(child, 'spawn');
    const taken = new Leases(folder).take();
    const [, startTime] = taken.split('-');
    // The same pid with another start time is another process.
    writeFileSync(join(folder, `${process.pid}-${Number(startTime) + 1}-reused`), '');
    writeFileSync(join(folder, `${child.pid ?? 0}-1-reused`), '');
    child.kill('SIGKILL');
    await once(child, 'exit');
    writeFileSync(join(folder, `${child.pid ?? 0}-${startTime ?? ''}-dead`), '');
    writeFileSync(join(folder, 'nonsense'), '');
    expect(new Leases(folder).live()).toEqual([taken]);
    expect(readdirSync(folder)).toEqual([taken]);
  });
});

describe('the lock', () => {
  test('is held by one at a time, also within one process', async () => {
    let holders = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 5 }, () =>
        withLock(join(folder, 'lock'), async () => {
          most = Math.max(most, ++holders);
          await new Promise((resolve) => setTimeout(resolve, 5));
          holders--;
        }),
      ),
    );
    expect(most).toBe(1);
  });

  test('is free after its holder threw or was killed', async () => {
    const lock = join(folder, 'lock');
    await expect(withLock(lock, () => Promise.reject(new Error('boom')))).rejects.toThrow('boom');
    const module = JSON.stringify(join(import.meta.dirname, '../../controller/setup/lock.ts'));
    const program = `import { withLock } from ${module};
      await withLock(${JSON.stringify(lock)}, () => { console.log('held'); return new Promise((r) => setTimeout(r, 60000)); });`;
    const holder = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(holder.stdout, 'data');
    let taken = false;
    const waiting = withLock(lock, () => {
      taken = true;
      return Promise.resolve();
    });
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(taken).toBe(false);
    holder.kill('SIGKILL');
    await waiting;
    expect(taken).toBe(true);
  });
});

describe('connecting', () => {
  test.each(['unix:///nonexistent/docker.sock', 'tcp://127.0.0.1:1'])(
    'to a DOCKER_HOST where nothing answers (%s) says so and looks nowhere else',
    async (dockerHost) => {
      await expect(connectEngine({ dockerHost, cacheDir: folder })).rejects.toMatchObject({
        code: 'ENGINE_UNAVAILABLE',
        message: expect.stringMatching(
          `DOCKER_HOST="${dockerHost}" does not answer .*unset DOCKER_HOST`,
        ) as string,
      });
      expect(readdirSync(folder)).toEqual([]);
    },
  );

  test.each(['tcp://host-without-port', 'ssh://host', 'nonsense'])('to %s is refused', async (dockerHost) => {
    await expect(connectEngine({ dockerHost, cacheDir: folder })).rejects.toMatchObject({
      code: 'ENGINE_UNAVAILABLE',
      message: expect.stringContaining('unix:///path or tcp://host:port') as string,
    });
  });
});

/** Root on a machine that has the engine's program: a second engine of its own can be started. */
function privateEnginePossible(): Promise<Availability<null>> {
  const possible = process.getuid?.() === 0 && existsSync('/usr/sbin/dockerd');
  return Promise.resolve(possible ? { value: null } : { missing: 'root and /usr/sbin/dockerd' });
}

describeWith('the private engine', privateEnginePossible, () => {
  test('is shared by its users, and the last one stops it with all that belongs to it', async () => {
    const steps: string[] = [];
    const first = new PrivateEngine(folder, (step) => steps.push(step));
    const second = new PrivateEngine(folder, silent);
    expect(await second.acquireRunning()).toBeUndefined();
    const lease = await first.acquire();
    try {
      const other = await second.acquireRunning();
      expect(other).toBeDefined();
      const docker = await connectEngine({ dockerHost: `unix://${first.socketPath}`, cacheDir: folder });
      expect(await docker.docker.listContainers({ all: true })).toEqual([]);
      await second.release(other!);
      expect(existsSync(first.socketPath)).toBe(true);
      // A user that was killed: its lease stays behind and must not keep the engine up.
      writeFileSync(join(folder, 'engine', 'leases', '1-0-killed'), '');
    } finally {
      await first.release(lease);
    }
    expect(existsSync(first.socketPath)).toBe(false);
    expect(await programsNaming(folder)).toEqual([]);
    expect(steps).toEqual([
      expect.stringContaining('starting a private container engine'),
      'stopping the private container engine',
    ]);
  });

  test('after kill -9 of the engine, a new user starts it again', async () => {
    const killed = new PrivateEngine(folder, silent);
    const abandoned = await killed.acquire();
    const [pid] = await programsNaming(folder);
    process.kill(pid!, 'SIGKILL');
    expect(await killed.acquireRunning()).toBeUndefined();
    const next = new PrivateEngine(folder, silent);
    const lease = await next.acquire();
    await killed.release(abandoned);
    expect(await next.acquireRunning()).toBeDefined();
    for (const each of new Leases(join(folder, 'engine', 'leases')).live()) await next.release(each);
    expect(await programsNaming(folder)).toEqual([]);
    expect(new Leases(join(folder, 'engine', 'leases')).live()).not.toContain(lease);
  });

  test('ends the containers that outlived an engine that was killed', async () => {
    const killed = new PrivateEngine(folder, silent);
    const lease = await killed.acquire();
    let container: number;
    try {
      const docker = new Dockerode({ socketPath: killed.socketPath });
      const Image = await probeImage(docker, 'trap "exit 0" TERM; sleep 600 & wait');
      const created = await docker.createContainer({ Image, HostConfig: { NetworkMode: 'none' } });
      await created.start();
      container = (await created.inspect()).State.Pid;
      const [pid] = await programsNaming(folder);
      process.kill(pid!, 'SIGKILL');
      expect(isAlive(container)).toBe(true);
    } finally {
      await killed.release(lease);
    }
    expect(isAlive(container)).toBe(false);
    expect(await programsNaming(folder)).toEqual([]);
    // Nothing is mounted any more, or this would fail.
    await rm(folder, { recursive: true });
  });

  test('refuses a folder whose sockets would have too long a path', async () => {
    const long = join(folder, 'x'.repeat(60));
    await expect(new PrivateEngine(long, silent).acquire()).rejects.toMatchObject({
      code: 'ENGINE_UNAVAILABLE',
      message: expect.stringContaining('WORMHOLE_CACHE_DIR') as string,
    });
  });
});

describeWith('an engine', engine, ({ docker }) => {
  test('tells what it can do, and what it lacks in plain words', async () => {
    const facts = await inspectEngine(docker);
    expect(facts).toMatchObject({
      version: expect.stringMatching(/^\d+\./) as string,
      cpus: expect.any(Number) as number,
    });
    expect(facts.warnings).toEqual(warningsOf(facts));
    const worst = warningsOf({
      ...facts,
      seccomp: false,
      accessControl: null,
      limits: { cpu: true, memory: true, swap: false, pids: false },
      rootless: false,
      userNamespaces: false,
      sharesKernel: false,
    });
    expect(worst).toHaveLength(5);
    expect(worst[0]).toContain('swap, pids');
    const best = { ...facts, seccomp: true, accessControl: 'apparmor', rootless: true, sharesKernel: true };
    expect(warningsOf({ ...best, limits: { cpu: true, memory: true, swap: true, pids: true } })).toEqual([]);
  });
});

/** Whether a process runs; one that ended and that nobody waited for does not. */
function isAlive(pid: number): boolean {
  const status = `/proc/${pid}/status`;
  return existsSync(status) && !/^State:\s+Z/m.test(readFileSync(status, 'utf8'));
}

/** The processes whose command line names a folder, oldest first. */
async function programsNaming(path: string): Promise<number[]> {
  const ps = spawn('pgrep', ['-f', `${path}/`], { stdio: ['ignore', 'pipe', 'inherit'] });
  const chunks: Buffer[] = [];
  ps.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(ps, 'close');
  return Buffer.concat(chunks).toString().split('\n').filter(Boolean).map(Number);
}
