import { Option, type Command } from 'commander';
import type { TenantId } from '../../model/ids.ts';
import { RUN_STATUSES, type RunStatus } from '../../model/run-status.ts';
import { parseIntegerBetween, parseTenantId } from '../arguments.ts';
import { displayText, shortened } from '../display-text.ts';
import { formatBetween } from '../durations.ts';
import { EXIT_OK } from '../exit-codes.ts';
import { shortId } from '../find-run.ts';
import type { RunCommand } from '../session.ts';

const DEFAULT_LIMIT = 20;
const MOST = 1000;
const NAME_WIDTH = 32;

interface LsOptions {
  readonly tenant?: TenantId;
  readonly status?: RunStatus;
  readonly limit: number;
  readonly json?: boolean;
}

/** `wormhole ls`: runs, newest first. */
export function addLs(program: Command, run: RunCommand): void {
  program
    .command('ls')
    .summary('list runs, newest first')
    .description(
      'Lists runs, newest first. RUN is the end of the id, which every command takes; --json has all of it.',
    )
    .option('--tenant <id>', 'only runs of this tenant', parseTenantId)
    .addOption(new Option('--status <status>', 'only runs in this status').choices(RUN_STATUSES))
    .option('--limit <count>', `how many, 1 to ${MOST}`, parseIntegerBetween(1, MOST), DEFAULT_LIMIT)
    .option('--json', 'print one JSON array')
    .addHelpText(
      'after',
      '\nExamples:\n  wormhole ls --tenant acme --status FAILED\n  wormhole ls --json --limit 100 | jq -r ".[].id"',
    )
    .action((options: LsOptions) =>
      run(options, ({ output, withClient }) =>
        withClient(async (client) => {
          const runs = await client.runs(options);
          output.document(runs);
          if (runs.length === 0) output.note('no runs; "wormhole submit --help" says how to start one');
          else {
            output.table(
              ['RUN', 'TENANT', 'WORKFLOW', 'STATUS', 'REASON', 'ATTEMPT', 'QUEUED', 'WAIT', 'DURATION'],
              runs.map((one) => [
                shortId(one.id),
                one.tenantId,
                shortened(displayText(one.workflowName ?? '–'), NAME_WIDTH),
                output.status(one.status),
                one.reason ?? '',
                String(one.attempt),
                one.queuedAt.toISOString().slice(0, 19).replace('T', ' '),
                formatBetween(one.queuedAt, one.startingAt),
                formatBetween(one.startingAt, one.finishedAt),
              ]),
            );
          }
          return EXIT_OK;
        }),
      ),
    );
}
