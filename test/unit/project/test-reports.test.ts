import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readJunit, readVitest } from '../../../scripts/test-reports.mjs';

const folder = await mkdtemp(join(tmpdir(), 'reports-'));
afterAll(() => rm(folder, { recursive: true }));

async function report(text: string): Promise<string> {
  const file = join(folder, 'report');
  await writeFile(file, text);
  return file;
}

const file = (status: string, ...tests: string[]): object => ({
  name: 'a.test.ts',
  status,
  assertionResults: tests.map((result, index) => ({ status: result, fullName: `test ${index}` })),
});

test.each([
  ['what passed and failed', [file('failed', 'passed', 'passed', 'failed')], 2, 1, []],
  [
    'what was skipped or left for later, by name',
    [file('passed', 'skipped', 'todo')],
    0,
    0,
    ['test 0', 'test 1'],
  ],
  ['a file that did not load as a failure', [file('failed'), file('passed', 'passed')], 1, 1, []],
  ['a file whose hook failed as a failure', [file('failed', 'passed')], 1, 1, []],
])("counts from Vitest's report %s", async (_, testResults, passed, failed, skipped) => {
  expect(readVitest(await report(JSON.stringify({ testResults })))).toEqual({ passed, failed, skipped });
});

test("counts from pytest's report what passed, failed, broke and was skipped", async () => {
  const xml = `<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest"
    errors="1" failures="2" skipped="1" tests="9" time="1.0"><testcase classname="tests.test_a" name="test_b"
    time="0.1" /><testcase classname="tests.test_a" name="test_c" time="0.0"><skipped type="pytest.skip"
    message="needs a thing">somewhere</skipped></testcase></testsuite></testsuites>`;
  expect(readJunit(await report(xml.replaceAll('\n    ', ' ')))).toEqual({
    passed: 5,
    failed: 3,
    skipped: ['test_c: needs a thing'],
  });
});

test.each(['', '<testsuites />', '{}'])('refuses %j as a report', async (text) => {
  const path = await report(text);
  expect(() => readJunit(path)).toThrow();
  expect(() => readVitest(path)).toThrow();
});
