import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, test } from 'vitest';
import { DECLARED_KEYS, ENVIRONMENT_VARIABLES, loadConfig } from '../../../controller/config.ts';
import { ERROR_CODES } from '../../../controller/errors.ts';
import { REASONS } from '../../../controller/model/reasons.ts';

const read = (name: string): string =>
  readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8');

/** @returns the cells of each table row that starts with a name in backquotes, by that name. */
function rowsOf(document: string): Map<string, string[]> {
  const rows = document
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  return new Map(rows.map(([name, ...cells]) => [name!.replaceAll('`', ''), cells]));
}

describe('docs/errors.md', () => {
  const rows = rowsOf(read('errors.md'));

  test.each(Object.entries(ERROR_CODES))(
    'has %s with its status and exit code',
    (code, { status, exitCode }) => {
      expect(rows.get(code)?.slice(0, 2)).toEqual([String(status), String(exitCode)]);
    },
  );

  test('has no code that does not exist', () => {
    expect([...rows.keys()].filter((code) => !(code in ERROR_CODES))).toEqual([]);
  });
});

describe('docs/reasons.md', () => {
  const rows = rowsOf(read('reasons.md'));

  test.each(REASONS)('says of %s what happened and what to do', (reason) => {
    const [status, happened, todo] = rows.get(reason) ?? [];
    expect(['FAILED', 'TIMEOUT', 'CANCELED']).toContain(status);
    expect(happened?.length).toBeGreaterThan(20);
    expect(todo?.length).toBeGreaterThan(20);
  });

  test('has no reason that does not exist', () => {
    expect([...rows.keys()].filter((reason) => !(REASONS as readonly string[]).includes(reason))).toEqual([]);
  });
});

describe('docs/configuration.md', () => {
  const text = read('configuration.md');
  const rows = rowsOf(text);

  test.each([...DECLARED_KEYS, ...ENVIRONMENT_VARIABLES])('has %s', (key) => {
    expect(rows.has(key)).toBe(true);
  });

  test('has an example file that is accepted', () => {
    const example = /```yaml\n(.*?)```/s.exec(text)?.[1] ?? '';
    const folder = mkdtempSync(`${tmpdir()}/wormhole-test-`);
    try {
      writeFileSync(`${folder}/wormhole.yaml`, example);
      const config = loadConfig({ env: {}, file: `${folder}/wormhole.yaml` });
      expect(config.tenants.map(({ id }) => id)).toEqual(['acme']);
      expect(config.internalServices).toHaveLength(1);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
