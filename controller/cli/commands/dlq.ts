import type { Command } from 'commander';
import type { DeadLetter } from '../../intake/dead-letters.ts';
import type { TenantId } from '../../model/ids.ts';
import { parseIntegerBetween, parseTenantId } from '../arguments.ts';
import { displayText, shortened } from '../display-text.ts';
import { EXIT_OK } from '../exit-codes.ts';
import type { Output } from '../output.ts';
import type { RunCommand } from '../session.ts';

const DEFAULT_LIMIT = 20;
const MOST = 10_000;
const MESSAGE_WIDTH = 70;
const LABEL_WIDTH = 9;

/** `wormhole dlq`: what could not be processed. */
export function addDlq(program: Command, run: RunCommand): void {
  const dlq = program
    .command('dlq')
    .summary('look at what could not be processed')
    .description(
      'The dead letters: runs that the infrastructure failed for good, and jobs of plain BullMQ producers that were refused. At most 10,000 are kept, for 30 days.',
    );
  addLs(dlq, run);
  addShow(dlq, run);
  addRetry(dlq, run);
  addDrop(dlq, run);
}

function addLs(dlq: Command, run: RunCommand): void {
  dlq
    .command('ls')
    .summary('list dead letters, newest first')
    .option('--tenant <id>', 'only those of this tenant', parseTenantId)
    .option('--limit <count>', `how many, 1 to ${MOST}`, parseIntegerBetween(1, MOST), DEFAULT_LIMIT)
    .option('--json', 'print one JSON array')
    .action((options: { tenant?: TenantId; limit: number; json?: boolean }) =>
      run(options, ({ output, withClient }) =>
        withClient(async (client) => {
          const letters = await client.deadLetters({ tenantId: options.tenant, limit: options.limit });
          output.document(letters);
          if (letters.length === 0) output.note('no dead letters');
          else {
            output.table(
              ['LETTER', 'TENANT', 'CODE', 'AT', 'MESSAGE'],
              letters.map((letter) => [
                displayText(letter.id),
                letter.tenantId ?? '–',
                displayText(letter.code),
                letter.at.slice(0, 19).replace('T', ' '),
                shortened(displayText(letter.message), MESSAGE_WIDTH),
              ]),
            );
          }
          return EXIT_OK;
        }),
      ),
    );
}

function addShow(dlq: Command, run: RunCommand): void {
  dlq
    .command('show <letter>')
    .summary('show one dead letter')
    .option('--json', 'print one JSON document')
    .action((id: string, options: { json?: boolean }) =>
      run(options, ({ output, withClient }) =>
        withClient(async (client) => {
          const letter = await client.deadLetter(id);
          output.document(letter);
          describeLetter(letter, output);
          return EXIT_OK;
        }),
      ),
    );
}

function describeLetter(letter: DeadLetter, output: Output): void {
  const field = (label: string, value: string): void => output.line(`${label.padEnd(LABEL_WIDTH)} ${value}`);
  field('letter', displayText(letter.id));
  field('tenant', letter.tenantId ?? 'unknown');
  if (letter.runId !== null) field('run', letter.runId);
  field('code', displayText(letter.code));
  field('message', displayText(letter.message));
  if (letter.attempts !== null) field('attempts', String(letter.attempts));
  field('at', letter.at);
  const canRetry = letter.kind === 'run' || letter.reference !== null;
  field('retry', canRetry ? 'makes a new run' : 'not possible: the input was not kept');
}

function addRetry(dlq: Command, run: RunCommand): void {
  dlq
    .command('retry <letter...>')
    .summary('submit what dead letters are about as new runs')
    .description(
      'Submits the run once more as a new one, and drops the letter. A refused job can be retried only if it had no input: inputs may hold secrets and are not kept. Stops at the first letter that cannot be retried, which stays.',
    )
    .option('--json', 'print one JSON array')
    .addHelpText(
      'after',
      "\nExit codes: 3 no such letter, or it cannot be retried; 4 the tenant's queue is full.",
    )
    .action((ids: string[], options: { json?: boolean }) =>
      run(options, ({ output, withClient }) =>
        withClient(async (client) => {
          const retried: { readonly letter: string; readonly runId: string }[] = [];
          try {
            for (const letter of ids) {
              const { runId } = await client.retryDeadLetter(letter);
              retried.push({ letter, runId });
              output.line(`${displayText(letter)}: run ${runId}`);
            }
          } finally {
            output.document(retried);
          }
          return EXIT_OK;
        }),
      ),
    );
}

function addDrop(dlq: Command, run: RunCommand): void {
  dlq
    .command('drop <letter...>')
    .summary('drop dead letters')
    .description('Drops dead letters. The FAILED runs that they are about stay recorded.')
    .option('--json', 'print one JSON array')
    .action((ids: string[], options: { json?: boolean }) =>
      run(options, ({ output, withClient }) =>
        withClient(async (client) => {
          const dropped: string[] = [];
          try {
            for (const letter of ids) {
              await client.dropDeadLetter(letter);
              dropped.push(letter);
              output.line(`${displayText(letter)} is dropped`);
            }
          } finally {
            output.document(dropped);
          }
          return EXIT_OK;
        }),
      ),
    );
}
