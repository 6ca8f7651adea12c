import type { Command } from 'commander';
import type { RunCommand } from '../session.ts';

/** `wormhole doctor`: what is there, what is missing, and what isolates less than it could. */
export function addDoctor(program: Command, run: RunCommand): void {
  program
    .command('doctor')
    .summary('check this machine and the configuration')
    .description(
      'Checks the configuration, the container engine, the runner image and the servers, without starting or installing anything, and says what isolates less than it could. The exit code is 1 if something is missing.',
    )
    .option('--config <file>', 'what is declared (default: wormhole.yaml, if there is one)')
    .option('--json', 'print one JSON document')
    .action((options: { config?: string; json?: boolean }) =>
      run(options, async (session) => {
        // Loaded only here: the engine's client and the drivers take longer to load than most commands to run.
        const { examine } = await import('../doctor.ts');
        return await examine(session, options.config);
      }),
    );
}
