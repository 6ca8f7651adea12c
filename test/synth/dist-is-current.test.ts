import { execFile } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, delimiter, dirname, join, resolve } from 'node:path';
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

  it('has a file for the cluster, one per tenant and one for the control plane', () => {
    const expected = readdirSync('environments').flatMap((file) => {
      const { tenants } = parseEnvironment(file, readFileSync(join('environments', file), 'utf8'));
      const charts = ['cluster', ...tenants.map(({ id }) => `tenant-${id}`), 'workloads'];
      return charts.map((chart) => join(basename(file, '.yaml'), `${chart}.k8s.yaml`));
    });
    const manifests = [...rendered.keys()].filter((path) => !path.startsWith('argocd'));
    expect(manifests.sort()).toEqual(expected.sort());
  });

  describe('by the cdk8s command line', () => {
    let project: string;
    /** Runs `cdk8s synth` in a copy of the project, because it replaces dist/ there. */
    const synth = (...options: string[]) => {
      const cdk8s = join(project, 'node_modules/cdk8s-cli/bin/cdk8s');
      // cdk8s.yaml says `node`: the one that runs this test.
      const PATH = [dirname(process.execPath), process.env['PATH']].join(delimiter);
      return run(process.execPath, [cdk8s, 'synth', '--no-check-upgrade', ...options], {
        cwd: project,
        env: { ...process.env, PATH },
      });
    };
    const dist = () => filesIn(join(project, 'dist'));

    beforeAll(() => {
      project = join(folder, 'project');
      for (const path of ['lib', 'imports', 'environments', 'cdk8s.yaml', 'package.json']) {
        cpSync(path, join(project, path), { recursive: true });
      }
      symlinkSync(resolve('node_modules'), join(project, 'node_modules'));
    });

    it('is the same, without the files of tenants that are gone', async () => {
      mkdirSync(join(project, 'dist/dev'), { recursive: true });
      writeFileSync(join(project, 'dist/dev/tenant-gone.k8s.yaml'), '');
      await synth();
      expect(differences(rendered, dist())).toEqual([]);
    });

    it('is left alone where another folder is asked for', async () => {
      const before = dist();
      await synth('--output', 'elsewhere');
      expect(differences(rendered, filesIn(join(project, 'elsewhere')))).toEqual([]);
      expect(differences(before, dist())).toEqual([]);
    });

    it('is left alone by a value that is refused', async () => {
      const before = dist();
      expect(before.size).toBeGreaterThan(50);
      writeFileSync(join(project, 'environments/wrong.yaml'), 'tenants: [{id: Acme}]');
      await expect(synth()).rejects.toMatchObject({
        stderr: expect.stringContaining(
          'environments/wrong.yaml: tenants[0].id is "Acme"; allowed:',
        ) as string,
      });
      expect(differences(before, dist())).toEqual([]);
    });
  });
});
