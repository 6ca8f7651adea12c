import type { Command } from 'commander';
import type { RunCommand } from '../session.ts';

interface UpOptions {
  readonly config?: string;
  readonly json?: boolean;
}

/** `wormhole up`: the platform, in the foreground. */
export function addUp(program: Command, run: RunCommand): void {
  program
    .command('up')
    .summary('start the platform and stay in the foreground')
    .description(
      'Starts the platform and stays in the foreground: database, queue, gateway, egress proxy, dispatch. Installs and builds what is missing. Ctrl-C stops taking runs and lets live ones end for half a minute; a second one cancels them.',
    )
    .option(
      '--config <file>',
      'what is declared: tenants, caps, services (default: wormhole.yaml, if there is one)',
    )
    .option('--json', 'print one JSON object per line')
    .addHelpText(
      'after',
      `
The environment says where things are, such as DATABASE_URL, REDIS_URL, DOCKER_HOST: docs/configuration.md.

Example:
  wormhole up --config production.yaml`,
    )
    .action((options: UpOptions) =>
      run(options, async (session) => {
        // Loaded only here: queue and drivers take longer to load than most commands to run.
        const { up } = await import('../up.ts');
        return await up(session, options.config);
      }),
    );
}
