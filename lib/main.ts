import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { App } from 'cdk8s';
import { parseEnvironment } from './environment.ts';
import { environmentApps } from './environment-apps.ts';
import { InvalidValueError } from './errors.ts';

const folder = join(import.meta.dirname, '..', 'environments');
// The folder that `cdk8s synth --output` asks for, or dist/.
const { outdir } = new App();

try {
  // All are checked before the first is written, so that a wrong value leaves nothing half rendered.
  const apps = readdirSync(folder)
    .filter((file) => file.endsWith('.yaml'))
    .flatMap((file) => {
      const environment = parseEnvironment(`environments/${file}`, readFileSync(join(folder, file), 'utf8'));
      return environmentApps(environment, join(outdir, basename(file, '.yaml')));
    });
  for (const app of apps) app.synth();
} catch (error) {
  if (!(error instanceof InvalidValueError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
