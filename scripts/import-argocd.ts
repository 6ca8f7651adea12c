/**
 * Makes imports/argoproj.io.js and .d.ts anew with `cdk8s import`. They are compiled, because Node runs TypeScript by
 * stripping types and the bindings have syntax that cannot be stripped. Usage: node scripts/import-argocd.ts
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ARGOCD_VERSION, argocdCrds } from './argocd-crds.ts';
import { ensurePythonEnv } from './python-env.mjs';

const run = promisify(execFile);

const root = join(import.meta.dirname, '..');
const imports = join(root, 'imports');
const node = (program: string, args: string[], cwd: string) =>
  run(process.execPath, [join(root, 'node_modules', program), ...args], { cwd });

// Inside the project, so that the compiler finds what the bindings import.
const folder = mkdtempSync(join(imports, '.import-'));
try {
  const { python } = await ensurePythonEnv((line) => console.log(line));
  writeFileSync(join(folder, 'crds.yaml'), (await argocdCrds(python)).join('\n---\n'));
  const importing = [
    'import',
    './crds.yaml',
    '--language',
    'typescript',
    '--output',
    '.',
    '--no-check-upgrade',
  ];
  await node('cdk8s-cli/bin/cdk8s', importing, folder);
  const compiling = ['--target', 'es2024', '--module', 'nodenext', '--skipLibCheck', '--declaration'];
  const bindings = join(folder, 'argoproj.io.ts');
  await node('typescript/bin/tsc', ['--ignoreConfig', ...compiling, '--types', 'node', bindings], folder);
  for (const file of ['argoproj.io.js', 'argoproj.io.d.ts']) {
    const from = `// Argo CD ${ARGOCD_VERSION}: made by scripts/import-argocd.ts\n`;
    writeFileSync(join(imports, file), from + readFileSync(join(folder, file), 'utf8'));
  }
} finally {
  rmSync(folder, { recursive: true });
}
