// `npm pack` runs this: Node strips no types under node_modules, so the package holds JavaScript and declarations.
import { execFileSync } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const project = fileURLToPath(new URL('..', import.meta.url));
const build = join(project, 'build');

rmSync(build, { recursive: true, force: true });
const tsc = join(project, 'node_modules', 'typescript', 'bin', 'tsc');
execFileSync(process.execPath, [tsc, '--project', join(project, 'tsconfig.package.json')], {
  // What `npm pack --json` prints is for programs.
  stdio: ['ignore', 2, 2],
});
for (const name of ['argoproj.io.js', 'argoproj.io.d.ts']) {
  cpSync(join(project, 'imports', name), join(build, 'imports', name));
}
