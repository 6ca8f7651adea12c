import { lstat, mkdir, mkdtemp, rename, rm, symlink, unlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test, vi } from 'vitest';
import { AwaitedSockets } from '../../../controller/awaited-sockets.ts';
import { RunFolders } from '../../../controller/backends/docker/run-folder.ts';
import { FolderSockets } from '../../../controller/folder-sockets.ts';
import { attemptName, type AttemptRef } from '../../../controller/model/ids.ts';
import { newAttempt } from '../../support/attempts.ts';

const log = pino({ level: 'silent' });
const OPEN_MS = 5_000;

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'fs-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Serves sockets in a folder; `served` are the attempts whose sockets are open. */
async function serve(dir: string, file = 'x.sock'): Promise<{ served: string[]; sockets: FolderSockets }> {
  const served: string[] = [];
  const listen = async (path: string, ref: AttemptRef): Promise<() => Promise<void>> => {
    await unlink(path).catch(() => undefined);
    const server = createServer((socket) => socket.on('error', () => undefined).end()).listen(path);
    await once(server, 'listening');
    served.push(attemptName(ref));
    return async () => {
      served.splice(served.indexOf(attemptName(ref)), 1);
      server.close();
      await once(server, 'close');
    };
  };
  const sockets = await FolderSockets.start({ dir, file, listen, log });
  onTestFinished(() => sockets.close());
  return { served, sockets };
}

const eventually = (check: () => void | Promise<void>): Promise<void> =>
  vi.waitFor(check, { timeout: OPEN_MS, interval: 20 });

test('sockets open in folders that are there and in those that come, and close with them', async () => {
  const dir = await newFolder();
  const [there, comes] = [attemptName(newAttempt()), attemptName(newAttempt())];
  await mkdir(join(dir, there));
  const { served, sockets } = await serve(dir);
  expect(served).toEqual([there]);
  await mkdir(join(dir, comes));
  await eventually(() => expect(served).toEqual([there, comes]));
  await rm(join(dir, there), { recursive: true });
  await eventually(() => expect(served).toEqual([comes]));
  expect(sockets.reasons()).toEqual([]);
});

test('who comes after a killed one serves what is there', async () => {
  const dir = await newFolder();
  const name = attemptName(newAttempt());
  await mkdir(join(dir, name));
  const first = await serve(dir);
  expect(first.served).toEqual([name]);
  const second = await serve(dir);
  expect(second.served).toEqual([name]);
});

test('another folder of the same name gets a socket of its own', async () => {
  const dir = await newFolder();
  const aside = await newFolder();
  const name = attemptName(newAttempt());
  await mkdir(join(dir, name));
  const { served } = await serve(dir);
  await rename(join(dir, name), join(aside, name));
  await mkdir(join(dir, name));
  await eventually(async () => {
    expect(served).toEqual([name]);
    expect((await lstat(join(dir, name, 'x.sock'))).isSocket()).toBe(true);
  });
});

test('what is no folder with the name of an attempt is left alone', async () => {
  const dir = await newFolder();
  const outside = await newFolder();
  const names = [
    '..x',
    'claim-token',
    `${newAttempt().runId}-0`,
    `${newAttempt().runId}-1x`,
    'x'.repeat(36) + '-1',
  ];
  for (const name of names) await mkdir(join(dir, name));
  await symlink(outside, join(dir, attemptName(newAttempt())));
  const { served } = await serve(dir);
  await mkdir(join(dir, 'later'));
  const proof = attemptName(newAttempt());
  await mkdir(join(dir, proof));
  await eventually(() => expect(served).toEqual([proof]));
});

test('a folder that is not there yet is waited for, and said to be missing', async () => {
  const dir = join(await newFolder(), 'later');
  const { served, sockets } = await serve(dir);
  expect(sockets.reasons()).toEqual([expect.stringContaining(dir)]);
  const name = attemptName(newAttempt());
  await mkdir(join(dir, name), { recursive: true });
  await eventually(() => expect(served).toEqual([name]));
  expect(sockets.reasons()).toEqual([]);
});

test('a new attempt waits for both sockets; without one it fails, and may be tried again', async () => {
  const parent = await newFolder();
  const [dir, egressDir] = [join(parent, 'g'), join(parent, 'e')];
  const folders = new RunFolders(dir, { egressDir });
  const ref = newAttempt();
  const folder = await folders.create(ref, 'token');
  const impatient = new AwaitedSockets({ egressDir, timeoutMs: 200 });
  const opening = new AwaitedSockets({ egressDir, timeoutMs: OPEN_MS }).open(ref, folder);
  await serve(dir, 'gateway.sock');
  await expect(impatient.open(ref, folder)).rejects.toMatchObject({
    reason: 'UNSCHEDULABLE',
    retryable: true,
    message: expect.stringContaining('the egress proxy did not open') as string,
  });
  await serve(egressDir, 'egress.sock');
  await opening;
});

test('a run whose folder goes while it waits is told so', async () => {
  const parent = await newFolder();
  const ref = newAttempt();
  const folder = join(parent, attemptName(ref));
  await expect(new AwaitedSockets({ egressDir: parent, timeoutMs: 200 }).open(ref, folder)).rejects.toThrow(
    folder,
  );
});
