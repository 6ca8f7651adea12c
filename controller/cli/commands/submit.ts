import type { Command } from 'commander';
import type { TenantId } from '../../model/ids.ts';
import { LIMITS } from '../../model/limits.ts';
import { parseIntegerBetween, parseTenantId } from '../arguments.ts';
import { EXIT_OK } from '../exit-codes.ts';
import { tellRun } from '../follow-command.ts';
import { parseJson, readJsonFile, readJsonStream, type JsonSource } from '../read-json.ts';
import type { RunCommand } from '../session.ts';

/** Indentation and comments of people's own make a file larger than its content. */
const DEFINITION_FILE_BYTES = 4 * LIMITS.definitionBytes;
const INPUT_FILE_BYTES = 4 * LIMITS.inputBytes;

const LONGEST_WAIT_S = 24 * 60 * 60;

interface SubmitOptions {
  readonly tenant: TenantId;
  readonly input: string;
  readonly idempotencyKey?: string;
  readonly traceparent?: string;
  readonly wait?: number;
  readonly follow?: boolean;
  readonly json?: boolean;
}

/** `wormhole submit`: one run of a workflow. */
export function addSubmit(program: Command, run: RunCommand): void {
  program
    .command('submit <workflow.json>')
    .summary('submit one run of a workflow')
    .description(
      'Submits one run of the workflow in a file. The definition is stored as a new version, unless the tenant has it already.',
    )
    .requiredOption('--tenant <id>', 'whose run it is', parseTenantId)
    .option('--input <json>', 'the input: JSON, @file, or - for standard input', '{}')
    .option('--idempotency-key <key>', 'the same key again gives the same run, not another')
    .option('--traceparent <context>', 'the W3C trace context that the run is part of')
    .option(
      '--wait <seconds>',
      `how long to wait for a place if the tenant's queue is full, 0 to ${LONGEST_WAIT_S} (default: 60 if the tenant declares "whenFull: wait", else 0)`,
      parseIntegerBetween(0, LONGEST_WAIT_S),
    )
    .option('--follow', 'tell status and log until the run has ended; the exit code says how')
    .option('--json', 'print one JSON document; with --follow one object per line')
    .addHelpText(
      'after',
      `
Examples:
  wormhole submit examples/contact-sync.json --tenant acme --input '{"amount": 42}' --follow
  wormhole submit import.json --tenant acme --input @order.json --idempotency-key order-4711
  produce-input | wormhole submit import.json --tenant acme --input - --json | jq -r .runId

Exit codes: 4 the tenant's queue is full, and was so for all of --wait; the error says when to try again.
With --follow: 0 SUCCESS, 10 FAILED, 11 TIMEOUT, 12 CANCELED.`,
    )
    .action((file: string, options: SubmitOptions) =>
      run(options, async (session) => {
        const { output, streams, withClient } = session;
        const definition = await readJsonFile(file, {
          what: 'the workflow',
          maxBytes: DEFINITION_FILE_BYTES,
          code: 'DEFINITION_INVALID',
        });
        const input = await readInput(options.input, streams.stdin);
        return await withClient(async (client) => {
          const { tenant: tenantId, idempotencyKey, traceparent, wait } = options;
          const submitted = await client.submit(
            { tenantId, definition, input, idempotencyKey, traceparent },
            { waitMs: wait === undefined ? undefined : wait * 1000, signal: session.interrupt.stop },
          );
          const again = submitted.deduplicated ? ' (submitted before, with this idempotency key)' : '';
          output.line(`run ${submitted.runId}${again}`);
          if (options.follow !== true) {
            output.document(submitted);
            return EXIT_OK;
          }
          output.event({ type: 'submitted', ...submitted });
          return await tellRun(client, submitted.runId, session);
        });
      }),
    );
}

async function readInput(given: string, stdin: NodeJS.ReadableStream): Promise<unknown> {
  const source: JsonSource = { what: 'the input', maxBytes: INPUT_FILE_BYTES, code: 'INPUT_INVALID' };
  if (given === '-') return await readJsonStream(stdin, source);
  if (given.startsWith('@')) return await readJsonFile(given.slice(1), source);
  return parseJson(given, '--input', source);
}
