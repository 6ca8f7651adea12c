import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  readPlatformFile,
  removePlatformFile,
  writePlatformFile,
} from '../../../controller/cli/platform-file.ts';

const facts = { instance: 'test', databaseUrl: 'postgresql://localhost/x', needs: ['REDIS_URL' as const] };

let stateDir: string;
let file: string;
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'wormhole-test-'));
  file = join(stateDir, 'platform.json');
});
afterEach(() => rmSync(stateDir, { recursive: true }));

test('what is written is read while its process runs, by its owner alone', async () => {
  await writePlatformFile(stateDir, facts);
  expect(await readPlatformFile(stateDir)).toMatchObject({ ...facts, pid: process.pid });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  removePlatformFile(stateDir);
  expect(await readPlatformFile(stateDir)).toBeUndefined();
});

test('a file whose process has ended is none', async () => {
  await writePlatformFile(stateDir, facts);
  const child = spawn(process.execPath, ['--eval', '']);
  const { pid } = child;
  await once(child, 'exit');
  const content = JSON.parse(readFileSync(file, 'utf8')) as object;
  writeFileSync(file, JSON.stringify({ ...content, pid }));
  expect(await readPlatformFile(stateDir)).toBeUndefined();
});

test('a file whose process id another program has now is none', async () => {
  await writePlatformFile(stateDir, facts);
  const content = JSON.parse(readFileSync(file, 'utf8')) as object;
  writeFileSync(file, JSON.stringify({ ...content, program: 'postgres' }));
  expect(await readPlatformFile(stateDir)).toBeUndefined();
});

test.each(['', '{', '[]', '{"pid": "1; rm -rf /"}', 'null'])('a file with %j is none', async (text) => {
  writeFileSync(file, text);
  expect(await readPlatformFile(stateDir)).toBeUndefined();
});

test('a folder that does not exist holds none', async () => {
  expect(await readPlatformFile(join(stateDir, 'absent'))).toBeUndefined();
});
