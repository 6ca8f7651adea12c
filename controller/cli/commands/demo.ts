import type { Command } from 'commander';
import type { RunCommand } from '../session.ts';

/** `wormhole demo`: everything at work, on this machine. */
export function addDemo(program: Command, run: RunCommand): void {
  program
    .command('demo')
    .summary('watch sample runs of two tenants, each in a container of its own')
    .description(
      'Starts a platform of its own with two sample tenants and a small service that they call, submits sample runs, shows how they get on, and removes everything again. The exit code is 0 exactly when every run ended as it should.',
    )
    .option('--json', 'print one JSON object per line')
    .action((options: { json?: boolean }) =>
      run(options, async (session) => {
        // Loaded only here: queue and drivers take longer to load than most commands to run.
        const { runDemo } = await import('../../demo/demo.ts');
        return await runDemo(session);
      }),
    );
}
