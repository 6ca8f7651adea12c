import type { Command } from 'commander';
import { EXIT_OK } from '../exit-codes.ts';
import { findRun, shortId } from '../find-run.ts';
import type { RunCommand } from '../session.ts';

/** `wormhole cancel`: ends a run. */
export function addCancel(program: Command, run: RunCommand): void {
  program
    .command('cancel <run>')
    .summary('cancel a run that has not ended')
    .description(
      'Asks for a run to be canceled. A queued run ends at once, a running one as soon as its container has ended.',
    )
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nExample:\n  wormhole cancel 4f1c09ab')
    .action((given: string, options: { json?: boolean }) =>
      run(options, ({ output, withClient }) =>
        withClient(async (client) => {
          const runId = await findRun(client, given);
          await client.cancel(runId);
          output.document({ runId, cancelRequested: true });
          output.line(
            `cancellation of ${runId} requested; "wormhole show ${shortId(runId)}" tells when it has ended`,
          );
          return EXIT_OK;
        }),
      ),
    );
}
