// `npm test`: runs on Node 20 with nothing installed. Plain JavaScript, Node's own modules only.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { ensureDependencies, node24, PROJECT } from './bootstrap.mjs';
import { ensurePythonEnv } from './python-env.mjs';
import { runProgram } from './run-program.mjs';
import { readJunit, readVitest } from './test-reports.mjs';

/**
 * The outcome of one part.
 * @typedef {{ passed: number, failed: number, skipped: string[] }} Outcome
 */

const filters = process.argv.slice(2);
const reports = mkdtempSync(join(tmpdir(), 'wormhole-reports-'));
process.once('exit', () => rmSync(reports, { recursive: true, force: true }));
process.env.PATH = [join(PROJECT, 'node_modules', '.bin'), process.env.PATH].join(delimiter);

await ensureDependencies();
const total = { passed: 0, failed: 0, skipped: [] };
if (filters.length === 0) {
  await part('type-check', () => check(node('typescript/bin/tsc', '--noEmit')));
  await part('lint', () =>
    check(
      node('eslint/bin/eslint.js', '--max-warnings=0', '.'),
      node('prettier/bin/prettier.cjs', '--check', '.'),
    ),
  );
  await pythonParts();
}
await part('vitest', vitest);
finish();

/** Runs one part, says so, and adds up what came of it. A part that throws is one failed test. */
async function part(name, run) {
  const startedAt = Date.now();
  console.log(`\n── ${name}`);
  let outcome;
  try {
    outcome = await run();
  } catch (error) {
    console.error(`${name}: ${error.message}`);
    outcome = { passed: 0, failed: 1, skipped: [] };
  }
  const { passed, failed, skipped } = outcome;
  console.log(`── ${name}: ${counts(outcome)} in ${((Date.now() - startedAt) / 1000).toFixed(1)} s`);
  total.passed += passed;
  total.failed += failed;
  total.skipped.push(...skipped.map((what) => `${name}: ${what}`));
}

/** @returns a program of a package in node_modules, run by Node 24. */
function node(program, ...args) {
  return { program: node24(), args: [join(PROJECT, 'node_modules', program), ...args], cwd: PROJECT };
}

/** One test: passed when all the programs succeed. */
async function check(...programs) {
  let succeeded = true;
  for (const program of programs) succeeded = (await runProgram(program)) === 0 && succeeded;
  return { passed: succeeded ? 1 : 0, failed: succeeded ? 0 : 1, skipped: [] };
}

async function pythonParts() {
  const names = ['ruff', 'mypy', 'pytest'];
  let python;
  try {
    ({ python } = await ensurePythonEnv((line) => console.log(line)));
  } catch (error) {
    for (const name of names) await part(name, () => ({ passed: 0, failed: 0, skipped: [error.message] }));
    return;
  }
  const module = (...args) => ({ program: python, args: ['-m', ...args], cwd: join(PROJECT, 'runner') });
  const ruff = (...args) => module('ruff', ...args, '--config', 'pyproject.toml', '.', '../deploy/image');
  await part('ruff', () => check(ruff('check'), ruff('format', '--check')));
  await part('mypy', () => check(module('mypy')));
  await part('pytest', async () => {
    const report = join(reports, 'pytest.xml');
    const code = await runProgram(module('pytest', '-q', '-ra', `--junitxml=${report}`));
    return failedIf(code !== 0, readJunit(report));
  });
}

async function vitest() {
  const report = join(reports, 'vitest.json');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const code = await runProgram(node('vitest/vitest.mjs', 'run', ...reporters, ...filters));
  return failedIf(code !== 0, readVitest(report));
}

/** A runner that ends badly although no test of its failed has itself failed: a crash, or things left behind. */
function failedIf(endedBadly, outcome) {
  return endedBadly && outcome.failed === 0 ? { ...outcome, failed: 1 } : outcome;
}

function finish() {
  if (total.skipped.length > 0) {
    console.log('\nskipped on this machine:');
    for (const what of total.skipped) console.log(`  ${what}`);
    if (isCi()) console.log('CI is set, and nothing may be skipped there.');
  }
  const succeeded = total.failed === 0 && !(isCi() && total.skipped.length > 0);
  process.exitCode = succeeded ? 0 : 1;
  console.log(`\n${counts(total)}`);
}

function isCi() {
  return !['', '0', 'false'].includes(process.env.CI ?? '');
}

/** @param {Outcome} outcome */
function counts({ passed, failed, skipped }) {
  const text = `${passed} passed, ${failed} failed`;
  return skipped.length === 0 ? text : `${text}, ${skipped.length} skipped`;
}
