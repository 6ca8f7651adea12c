import { cpSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { App } from 'cdk8s';
import { parseEnvironment } from './environment.ts';
import { environmentApps } from './environment-apps.ts';
import { environmentName } from './environment-name.ts';
import { InvalidValueError } from './errors.ts';
import { gitOpsApps } from './gitops/gitops-apps.ts';

const project = join(import.meta.dirname, '..');
const environments = join(project, 'environments');
/** Where cdk8s.yaml has `cdk8s synth` render: it empties the folder before it knows whether anything is wrong. */
const staging = join(project, '.synth');
// The folder that `cdk8s synth` asks for, or dist/.
const { outdir } = new App();

try {
  // All are checked before the first is written, so that a wrong value leaves nothing half rendered.
  const apps = readdirSync(environments)
    .filter((file) => !file.startsWith('.'))
    .flatMap((file) => {
      const name = environmentName(file);
      const text = readFileSync(join(environments, file), 'utf8');
      const environment = parseEnvironment(`environments/${file}`, text);
      return [
        ...environmentApps(environment, join(outdir, name)),
        ...gitOpsApps(name, environment, join(outdir, 'argocd')),
      ];
    });
  for (const app of apps) app.synth();
  if (resolve(outdir) === staging) {
    rmSync(join(project, 'dist'), { recursive: true, force: true });
    cpSync(staging, join(project, 'dist'), { recursive: true });
  }
} catch (error) {
  if (!(error instanceof InvalidValueError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
