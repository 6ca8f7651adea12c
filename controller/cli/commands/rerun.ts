import type { Command } from 'commander';
import { EXIT_OK } from '../exit-codes.ts';
import { findRun } from '../find-run.ts';
import { tellRun } from '../follow-command.ts';
import type { RunCommand } from '../session.ts';

/** `wormhole rerun`: the same workflow version and input, as a new run. */
export function addRerun(program: Command, run: RunCommand): void {
  program
    .command('rerun <run>')
    .summary('submit a run once more')
    .description('Submits a new run of the same workflow version with the same input.')
    .option('--follow', 'tell status and log until the new run has ended; the exit code says how')
    .option('--json', 'print one JSON document; with --follow one object per line')
    .addHelpText('after', '\nExample:\n  wormhole rerun 4f1c09ab --follow')
    .action((given: string, options: { follow?: boolean; json?: boolean }) =>
      run(options, (session) =>
        session.withClient(async (client) => {
          const { output } = session;
          const rerunOf = await findRun(client, given);
          const { runId } = await client.rerun(rerunOf);
          output.line(`run ${runId}`);
          if (options.follow !== true) {
            output.document({ runId, rerunOf });
            return EXIT_OK;
          }
          output.event({ type: 'submitted', runId, rerunOf });
          return await tellRun(client, runId, session);
        }),
      ),
    );
}
