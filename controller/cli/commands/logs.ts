import type { Command } from 'commander';
import { EXIT_OK } from '../exit-codes.ts';
import { findRun } from '../find-run.ts';
import { tellRun } from '../follow-command.ts';
import { logLine } from '../log-line.ts';
import type { RunCommand } from '../session.ts';

const LOG_PAGE = 500;

/** `wormhole logs`: what one run logged. */
export function addLogs(program: Command, run: RunCommand): void {
  program
    .command('logs <run>')
    .summary('print the log of a run')
    .description("Prints a run's log: what its steps did, and what the egress proxy decided.")
    .option('--follow', 'go on until the run has ended; the exit code says how')
    .option('--json', 'print one JSON array; with --follow one object per line')
    .addHelpText('after', '\n<run> is an id, or its beginning or end if that is enough to find it.')
    .addHelpText('after', '\nExample:\n  wormhole logs 4f1c09ab --follow')
    .action((given: string, options: { follow?: boolean; json?: boolean }) =>
      run(options, (session) =>
        session.withClient(async (client) => {
          const runId = await findRun(client, given);
          if (options.follow === true) return await tellRun(client, runId, session);
          const { output } = session;
          const all = [];
          let after: string | undefined;
          for (;;) {
            const page = await client.logs(runId, { after, limit: LOG_PAGE });
            if (page.entries.length === 0) break;
            page.entries.forEach((entry) => output.line(logLine(entry, output)));
            if (output.json) all.push(...page.entries);
            after = page.cursor;
          }
          output.document(all);
          return EXIT_OK;
        }),
      ),
    );
}
