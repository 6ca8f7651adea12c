import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseEnvironment } from '../../lib/index.ts';

const run = promisify(execFile);

/** @returns the text of every file below a folder, by its path in it. */
const filesIn = (folder: string): Map<string, string> => {
  const paths = existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort() : [];
  const files = paths.filter((path) => statSync(join(folder, path)).isFile());
  return new Map(files.map((path) => [path, readFileSync(join(folder, path), 'utf8')]));
};

const differences = (expected: Map<string, string>, actual: Map<string, string>): string[] =>
  [...new Set([...expected.keys(), ...actual.keys()])].filter(
    (path) => expected.get(path) !== actual.get(path),
  );

describe('dist/', () => {
  let folder: string;
  let rendered: Map<string, string>;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'wormhole-synth-'));
    const outdir = join(folder, 'main');
    const { stdout, stderr } = await run(process.execPath, ['lib/main.ts'], {
      env: { ...process.env, CDK8S_OUTDIR: outdir },
    });
    expect(stdout + stderr).toBe('');
    rendered = filesIn(outdir);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('is what synth renders now', () => {
    const stale = differences(rendered, filesIn('dist'));
    expect(stale, 'dist/ is stale: run "npm run synth" and commit dist/').toEqual([]);
  });

  it('has one file per tenant and environment', () => {
    const expected = readdirSync('environments').flatMap((file) => {
      const { tenants } = parseEnvironment(file, readFileSync(join('environments', file), 'utf8'));
      return tenants.map(({ id }) => join(basename(file, '.yaml'), `tenant-${id}.k8s.yaml`));
    });
    expect([...rendered.keys()].sort()).toEqual(expected.sort());
  });

  it('is the same from the cdk8s command line, and a second time', async () => {
    const outdir = join(folder, 'cli');
    // cdk8s.yaml says `node`: the one that runs this test.
    const PATH = [dirname(process.execPath), process.env['PATH']].join(delimiter);
    const cdk8s = ['node_modules/cdk8s-cli/bin/cdk8s', 'synth', '--no-check-upgrade', '--output', outdir];
    await run(process.execPath, cdk8s, { env: { ...process.env, PATH } });
    expect(differences(rendered, filesIn(outdir))).toEqual([]);
  });
});
