import { join } from 'node:path';
import { ESLint } from 'eslint';
import { describe, expect, test } from 'vitest';

const project = join(import.meta.dirname, '../../..');
const eslint = new ESLint({ cwd: project });

/** @returns the rules that the code breaks when it stands in the file. */
async function brokenRules(file: string, code: string): Promise<(string | null)[]> {
  const [result] = await eslint.lintText(code, { filePath: join(project, file) });
  return result?.messages.map((message) => message.ruleId) ?? [];
}

const FOLDERS = 'import-x/no-restricted-paths';
const ENVIRONMENT = 'no-restricted-properties';

// Files that exist, because typed rules know no others; what they hold is replaced.
describe('the lint', () => {
  test.each([
    ['lib/index.ts', '../controller/errors.ts'],
    ['lib/index.ts', '../test/support/requires.ts'],
    ['lib/constructs/run-job.ts', '../../controller/errors.ts'],
    ['controller/errors.ts', '../lib/index.ts'],
    ['controller/errors.ts', '../test/support/requires.ts'],
    ['controller/model/ids.ts', '../../lib/index.ts'],
    ['controller/model/ids.ts', '../store/database.ts'],
    ['controller/store/database.ts', '../../lib/index.ts'],
    ['controller/backends/types.ts', '../../lib/index.ts'],
    ['controller/backends/docker/docker-backend.ts', '../../../lib/index.ts'],
  ])('refuses that %s imports %s', async (file, imported) => {
    expect(await brokenRules(file, `import '${imported}';\n`)).toContain(FOLDERS);
  });

  test.each([
    ['lib/constructs/run-job.ts', '../index.ts'],
    ['controller/model/ids.ts', '../errors.ts'],
    ['controller/store/database.ts', '../model/ids.ts'],
    ['test/support/requires.ts', '../../lib/index.ts'],
  ])('allows that %s imports %s', async (file, imported) => {
    expect(await brokenRules(file, `import '${imported}';\n`)).toEqual([]);
  });

  test('allows the environment to be read where configuration is, and nowhere else', async () => {
    const code = "export const home = process.env['HOME'];\n";
    expect(await brokenRules('controller/config.ts', code)).toEqual([]);
    expect(await brokenRules('controller/errors.ts', code)).toContain(ENVIRONMENT);
    expect(await brokenRules('lib/index.ts', code)).toContain(ENVIRONMENT);
  });

  test('refuses a promise that nobody waits for, and any', async () => {
    const code = 'export const go = (value: any): void => {\n  Promise.resolve(value);\n};\n';
    const broken = await brokenRules('controller/errors.ts', code);
    expect(broken).toEqual(
      expect.arrayContaining([
        '@typescript-eslint/no-floating-promises',
        '@typescript-eslint/no-explicit-any',
      ]),
    );
  });
});
