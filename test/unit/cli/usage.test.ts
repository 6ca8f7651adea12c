import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { wormhole } from '../../support/cli.ts';

const COMMANDS = [
  ...['demo', 'up', 'submit', 'ls', 'show', 'logs', 'cancel', 'rerun', 'tenants', 'connection', 'doctor'],
];

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'wormhole-test-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

test('help lists every command, and the exit codes', async () => {
  const { exitCode, stdout } = await wormhole(['--help']);
  expect(exitCode).toBe(0);
  for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${command}\\b`, 'm'));
  expect(stdout).toContain('10 FAILED');
});

test.each(COMMANDS)('"%s --help" explains the command', async (command) => {
  const { exitCode, stdout } = await wormhole([command, '--help']);
  expect(exitCode).toBe(0);
  expect(stdout).toContain(`wormhole ${command}`);
});

test('--version prints the version of package.json', async () => {
  expect((await wormhole(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});

describe('a wrong command line is one line on standard error, and exit code 2', () => {
  test.each([
    [[], 'no command given'],
    [['lss'], "unknown command 'lss'"],
    [['ls', '--nope'], "unknown option '--nope'"],
    [['ls', '--limit', '0'], 'a whole number from 1 to 1000'],
    [['ls', '--status', 'DONE'], 'Allowed choices are QUEUED'],
    [['ls', '--tenant', 'ACME'], 'lower-case letters'],
    [['show'], "missing required argument 'run'"],
    [['submit', 'x.json'], "required option '--tenant <id>'"],
  ])('%j', async (args, message) => {
    const { exitCode, stdout, stderr } = await wormhole(args);
    expect(exitCode).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^wormhole: USAGE: .*\n$/);
    expect(stderr).toContain(message);
    expect(stderr).toContain('--help');
  });

  test('with --json an object', async () => {
    const { stderr } = await wormhole(['ls', '--json', '--limit', 'many']);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'USAGE' } });
  });
});

describe('without a platform', () => {
  test.each([['ls'], ['show', '0192abcd'], ['tenants'], ['cancel', '0192abcd']])(
    '"%s" says how to start one, and exits with 5',
    async (...args) => {
      const { exitCode, stderr } = await wormhole(args, { env: { WORMHOLE_STATE_DIR: folder } });
      expect(exitCode).toBe(5);
      expect(stderr).toMatch(/^wormhole: PLATFORM_NOT_RUNNING: .*npx wormhole up.*\n$/);
    },
  );
});

describe('submit refuses, before it connects to anything,', () => {
  const submit = (file: string, input = '{}', stdin = '') =>
    wormhole(['submit', file, '--tenant', 'acme', '--input', input, '--json'], {
      env: { WORMHOLE_STATE_DIR: folder },
      stdin,
    });
  const codeOf = ({ stderr }: { stderr: string }): unknown =>
    (JSON.parse(stderr) as { error: { code: string } }).error.code;

  test('a file that is not there', async () => {
    expect(codeOf(await submit(join(folder, 'absent.json')))).toBe('DEFINITION_INVALID');
  });

  test('a file that is not JSON, and shows none of it', async () => {
    const file = join(folder, 'wrong.json');
    writeFileSync(file, '{"password": hunter2}');
    const result = await submit(file);
    expect(codeOf(result)).toBe('DEFINITION_INVALID');
    expect(result.stderr).not.toContain('hunter2');
  });

  test('a file that is too large, without reading it to its end', async () => {
    const file = join(folder, 'large.json');
    writeFileSync(file, `"${'x'.repeat(10_000_000)}"`);
    expect(codeOf(await submit(file))).toBe('PAYLOAD_TOO_LARGE');
  });

  test('an input that is not JSON, wherever it comes from', async () => {
    const file = join(folder, 'workflow.json');
    writeFileSync(file, '{}');
    const input = join(folder, 'input.json');
    writeFileSync(input, '[1,');
    expect(codeOf(await submit(file, '{'))).toBe('INPUT_INVALID');
    expect(codeOf(await submit(file, `@${input}`))).toBe('INPUT_INVALID');
    expect(codeOf(await submit(file, '-', 'nonsense'))).toBe('INPUT_INVALID');
  });
});
