import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { defaultPaths } from '../../controller/setup/paths.ts';
import { startPostgres, type EmbeddedPostgres } from '../../controller/setup/postgres.ts';
import { commandOf } from '../../controller/setup/process-command.ts';
import { describeWith, root } from '../support/requires.ts';

const { cacheDir } = defaultPaths(process.env, process.getuid?.() === 0);

let folder: string;
const running: EmbeddedPostgres[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pg-'));
  await chmod(folder, 0o711);
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.stop()));
  await rm(folder, { recursive: true, force: true });
});

async function start(dir = join(folder, 'server'), messages: string[] = []): Promise<EmbeddedPostgres> {
  const server = await startPostgres({
    dir,
    cacheDir,
    durable: false,
    log: (message) => messages.push(message),
  });
  running.push(server);
  return server;
}

async function query<Row extends pg.QueryResultRow>(server: EmbeddedPostgres, text: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  try {
    return (await client.query<Row>(text)).rows;
  } finally {
    await client.end();
  }
}

const pidOf = async (dir: string): Promise<number> =>
  Number.parseInt(await readFile(join(dir, 'data', 'postmaster.pid'), 'utf8'), 10);

/** Starts a server from a process of its own, which then dies by SIGKILL. */
async function startFromKilledProcess(dir: string): Promise<void> {
  const module = JSON.stringify(join(import.meta.dirname, '../../controller/setup/postgres.ts'));
  const options = JSON.stringify({ dir, cacheDir, durable: false });
  const code = `import { startPostgres } from ${module};
    await startPostgres({ ...${options}, log: () => undefined });
    process.kill(process.pid, 'SIGKILL');`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: 'inherit' });
  const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
  expect(signal).toBe('SIGKILL');
}

describe('the embedded PostgreSQL', () => {
  test('keeps its data from start to start', async () => {
    const messages: string[] = [];
    const first = await start(undefined, messages);
    await query(first, "CREATE TABLE kept AS SELECT 'here' AS word");
    await first.stop();
    const second = await start(undefined, messages);
    expect(await query(second, 'SELECT word FROM kept')).toEqual([{ word: 'here' }]);
    expect(messages).toEqual([expect.stringContaining('making a new PostgreSQL database')]);
  });

  test('listens on a Unix socket in a private folder and nowhere else', async () => {
    const server = await start();
    expect((await stat(server.connection.host)).mode & 0o777).toBe(0o700);
    expect(await query(server, 'SHOW listen_addresses')).toEqual([{ listen_addresses: '' }]);
  });

  test('lets in over the network who has the password, and nobody else', async () => {
    const dir = join(folder, 'server');
    const listenAddress = '127.0.0.1';
    await startFromKilledProcess(dir);
    const server = await startPostgres({
      dir,
      cacheDir,
      durable: false,
      listenAddress,
      log: () => undefined,
    });
    running.push(server);
    const url = new URL(server.networkUrl ?? '');
    expect(url.hostname).toBe(listenAddress);
    expect(await query({ ...server, url: url.href }, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    url.password = 'guessed';
    await expect(query({ ...server, url: url.href }, 'SELECT 1')).rejects.toThrow('password authentication');
    expect(await query(server, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('is durable unless it is told not to be', async () => {
    const dir = join(folder, 'durable');
    const durable = await startPostgres({ dir, cacheDir, log: () => undefined });
    running.push(durable);
    expect(await query(durable, 'SHOW fsync')).toEqual([{ fsync: 'on' }]);
    expect(await query(await start(), 'SHOW fsync')).toEqual([{ fsync: 'off' }]);
  });

  test('keeps statements and values of errors out of its log', async () => {
    const server = await start();
    await query(server, 'CREATE TABLE once (word text PRIMARY KEY)');
    await expect(query(server, "INSERT INTO once VALUES ('canary'), ('canary')")).rejects.toThrow();
    const log = await readFile(join(folder, 'server', 'postgres.log'), 'utf8');
    expect(log).toContain('duplicate key');
    expect(log).not.toContain('canary');
  });

  test('stops twice', async () => {
    const server = await start();
    const pid = await pidOf(join(folder, 'server'));
    await server.stop();
    await server.stop();
    expect(await commandOf(pid)).toBeUndefined();
  });

  test('stops although a client is connected', async () => {
    const server = await start();
    const client = new pg.Client(server.connection);
    const ended = new Promise((resolve) => client.on('error', resolve));
    await client.connect();
    await server.stop();
    expect(await ended).toBeInstanceOf(Error);
  });

  test('is taken over from a process that was killed', async () => {
    const dir = join(folder, 'server');
    await startFromKilledProcess(dir);
    const pid = await pidOf(dir);
    const messages: string[] = [];
    const server = await start(dir, messages);
    expect(messages).toEqual([expect.stringContaining('taking over')]);
    expect(await pidOf(dir)).toBe(pid);
    await server.stop();
    expect(await commandOf(pid)).toBeUndefined();
  });

  test('starts again after it was killed itself', async () => {
    const dir = join(folder, 'server');
    await query(await start(dir), "CREATE TABLE kept AS SELECT 'here' AS word");
    const pid = await pidOf(dir);
    process.kill(pid, 'SIGKILL');
    while ((await commandOf(pid)) !== undefined) await sleep(10);
    expect(await query(await start(dir), 'SELECT word FROM kept')).toEqual([{ word: 'here' }]);
  });

  test('starts although its lock file names a process of somebody else', async () => {
    const dir = join(folder, 'server');
    await (await start(dir)).stop();
    await writeFile(join(dir, 'data', 'postmaster.pid'), `${process.pid}\n${join(dir, 'data')}\n`);
    expect(await query(await start(dir), 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('starts although an earlier start was interrupted while it made the data folder', async () => {
    const dir = join(folder, 'server');
    await mkdir(join(dir, 'data.new', 'base'), { recursive: true });
    expect(await query(await start(dir), 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('puts its socket elsewhere when the folder has a long path, and removes it', async () => {
    const server = await start(join(folder, 'x'.repeat(100)));
    const socketFolder = server.connection.host;
    expect(socketFolder.length).toBeLessThan(50);
    expect(await readdir(socketFolder)).toContain('.s.PGSQL.5432');
    await server.stop();
    await expect(stat(socketFolder)).rejects.toThrow('ENOENT');
  });

  test('refuses data of another PostgreSQL version', async () => {
    const dir = join(folder, 'server');
    await mkdir(join(dir, 'data'), { recursive: true });
    await writeFile(join(dir, 'data', 'PG_VERSION'), '12\n');
    await expect(start(dir)).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
      message: expect.stringContaining('belongs to PostgreSQL 12') as unknown,
    });
  });

  test('says why it does not start', async () => {
    const dir = join(folder, 'server');
    await (await start(dir)).stop();
    await rm(join(dir, 'data', 'global'), { recursive: true });
    await expect(start(dir)).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
      message: expect.stringContaining(join(dir, 'postgres.log')) as unknown,
    });
  });
});

describeWith('the embedded PostgreSQL of root', root, () => {
  test('refuses every other user of the machine', async () => {
    const server = await start();
    await chmod(server.connection.host, 0o755);
    await chmod(join(server.connection.host, '.s.PGSQL.5432'), 0o777);
    const code = `const { Client } = require('pg');
      process.setgid(4242);
      process.setuid(4242);
      new Client(${JSON.stringify(server.connection)}).connect().then(() => console.log('in'), (e) => console.log(e.message));`;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=commonjs', '-e', code]);
    expect(stdout).toContain('Peer authentication failed');
  });

  test('refuses a folder that "nobody" cannot reach, and names what is in the way', async () => {
    const closed = join(folder, 'closed');
    await mkdir(closed, { mode: 0o700 });
    await expect(start(join(closed, 'server'))).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(`chmod o+x ${closed}`) as unknown,
    });
  });
});
