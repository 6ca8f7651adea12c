import type { Command } from 'commander';
import { EXIT_OK } from '../exit-codes.ts';
import type { RunCommand } from '../session.ts';

interface PrepareVolumesOptions {
  readonly secrets: string;
  readonly data: string;
  readonly mongodbOptions: string;
}

/** `wormhole prepare-volumes`: what comes before everything else in deploy/compose/compose.yaml. */
export function addPrepareVolumes(program: Command, run: RunCommand): void {
  program
    .command('prepare-volumes')
    .summary('make the secrets of a platform in containers (on one machine)')
    .description(
      'Makes passwords and keys, each in the volumes of those who use it, and gives the database servers their data folders. What is there stays as it is. docs/compose.md says when it runs: by itself, at every start.',
    )
    .requiredOption('--secrets <folder>', 'has a folder for each container: postgres, gateway, …')
    .requiredOption('--data <folder>', 'has a folder for each database server')
    .option(
      '--mongodb-options <options>',
      "of MongoDB's URL: how its server authenticates",
      'authSource=admin',
    )
    .action((options: PrepareVolumesOptions) =>
      run({}, async ({ output }) => {
        const { secrets: secretsDir, data: dataDir, mongodbOptions } = options;
        const { prepareVolumes } = await import('../../setup/volumes.ts');
        const made = await prepareVolumes({ secretsDir, dataDir, mongodbOptions });
        output.line(made.length === 0 ? 'all secrets are there' : `made ${made.join(', ')}`);
        return EXIT_OK;
      }),
    );
}
