import { readFileSync } from 'node:fs';

/**
 * @param {string} file what Vitest's JSON reporter wrote.
 * @returns {{ passed: number, failed: number, skipped: string[] }} A test file that could not be loaded is one
 * failed test.
 */
export function readVitest(file) {
  const outcome = { passed: 0, failed: 0, skipped: [] };
  for (const { name, status, assertionResults } of JSON.parse(readFileSync(file, 'utf8')).testResults) {
    if (status === 'failed' && !assertionResults.some((test) => test.status === 'failed'))
      outcome.failed += 1;
    for (const test of assertionResults) {
      if (test.status === 'passed') outcome.passed += 1;
      else if (test.status === 'failed') outcome.failed += 1;
      else outcome.skipped.push(test.fullName || name);
    }
  }
  return outcome;
}

/**
 * @param {string} file what pytest's `--junitxml` wrote.
 * @returns {{ passed: number, failed: number, skipped: string[] }}
 */
export function readJunit(file) {
  const xml = readFileSync(file, 'utf8');
  const suite = /<testsuite [^>]*>/.exec(xml)?.[0] ?? '';
  const count = (attribute) => Number(new RegExp(` ${attribute}="(\\d+)"`).exec(suite)?.[1] ?? Number.NaN);
  const failed = count('failures') + count('errors');
  const skipped = [
    ...xml.matchAll(/<testcase [^>]*? name="([^"]*)"[^>]*><skipped [^>]*?message="([^"]*)"/g),
  ].map(([, name, message]) => `${name}: ${message}`);
  const passed = count('tests') - failed - count('skipped');
  if (Number.isNaN(passed)) throw new Error(`${file} is not a report of pytest`);
  return { passed, failed, skipped };
}
