import { mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { RunFolders } from '../../../controller/backends/docker/run-folder.ts';
import { attemptName } from '../../../controller/model/ids.ts';
import { newAttempt } from '../../support/attempts.ts';

async function newFolders(): Promise<{ dir: string; folders: RunFolders }> {
  const parent = await mkdtemp(join(tmpdir(), 'f-'));
  onTestFinished(() => rm(parent, { recursive: true }));
  const dir = join(parent, 'r');
  return { dir, folders: new RunFolders(dir) };
}

const modeOf = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8);

test('others on the host cannot get to a run folder, the container can read it whatever the umask', async () => {
  const { dir, folders } = await newFolders();
  await mkdir(dir, { mode: 0o777 });
  const before = process.umask(0o077);
  const folder = await folders.create(newAttempt(), 'token').finally(() => process.umask(before));
  expect(await modeOf(dir)).toBe('700');
  expect(await modeOf(folder)).toBe('755');
  expect(await modeOf(join(folder, 'claim-token'))).toBe('444');
});

test("where others serve the sockets, they are in this process's group, and each run has a folder for either socket", async () => {
  const { dir } = await newFolders();
  const egressDir = `${dir}-egress`;
  const folders = new RunFolders(dir, { egressDir });
  const spec = newAttempt();
  const folder = await folders.create(spec, 'token');
  const egress = folders.egressPathOf(spec) ?? '';
  expect(await readdir(egress)).toEqual([]);
  expect(await Promise.all([dir, egressDir, folder, egress].map(modeOf))).toEqual([
    '750',
    '750',
    '775',
    '775',
  ]);
  const orphan = newAttempt();
  await folders.create(orphan, 'token');
  expect(await folders.removeOrphans(new Set([attemptName(spec)]), 0)).toEqual([attemptName(orphan)]);
  await folders.remove(spec);
  expect(await Promise.all([dir, egressDir].map((one) => readdir(one)))).toEqual([[], []]);
});

test('making a folder again replaces the token and leaves nothing else', async () => {
  const { folders } = await newFolders();
  const spec = newAttempt();
  await Promise.all(['a', 'b', 'c'].map((token) => folders.create(spec, token)));
  const folder = await folders.create(spec, 'last');
  expect(await readFile(join(folder, 'claim-token'), 'utf8')).toBe('last');
  expect(await readdir(folder)).toEqual(['claim-token']);
});

test('removing is repeatable', async () => {
  const { dir, folders } = await newFolders();
  const spec = newAttempt();
  await folders.create(spec, 'token');
  expect(await folders.exists(spec)).toBe(true);
  await folders.remove(spec);
  await folders.remove(spec);
  expect(await folders.exists(spec)).toBe(false);
  expect(await readdir(dir)).toEqual([]);
});

test('orphans are removed, but neither what is kept nor what is new', async () => {
  const { dir, folders } = await newFolders();
  expect(await folders.removeOrphans(new Set(), 0)).toEqual([]);
  const [kept, orphan] = [newAttempt(), newAttempt()];
  await folders.create(kept, 'token');
  await folders.create(orphan, 'token');
  const keep = new Set([attemptName(kept)]);
  expect(await folders.removeOrphans(keep, 60_000)).toEqual([]);
  expect(await folders.removeOrphans(keep, 0)).toEqual([attemptName(orphan)]);
  expect(await readdir(dir)).toEqual([attemptName(kept)]);
});

test('a folder below which no socket could be opened is refused at once', () => {
  expect(() => new RunFolders(`/${'x'.repeat(60)}`)).toThrow(/runDir "\/x+" is \d+ bytes too long/);
  expect(() => new RunFolders(`/${'x'.repeat(50)}`)).not.toThrow();
});
