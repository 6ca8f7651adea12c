import type { Command } from 'commander';
import type { Json } from '../../model/json.ts';
import type { RunDetail } from '../../store/runs.ts';
import { displayJson, displayText, shortened } from '../display-text.ts';
import { formatBetween } from '../durations.ts';
import { EXIT_OK } from '../exit-codes.ts';
import { findRun } from '../find-run.ts';
import type { Output } from '../output.ts';
import type { RunCommand } from '../session.ts';

const LABEL_WIDTH = 11;
const ERROR_WIDTH = 90;
const CONTAINER_ID_LENGTH = 12;

/** `wormhole show`: everything that is recorded of one run. */
export function addShow(program: Command, run: RunCommand): void {
  program
    .command('show <run>')
    .summary('show everything recorded of one run')
    .description('Shows a run: status and reason, times, steps, attempts, input and output.')
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\n<run> is an id, or its beginning or end if that is enough to find it.')
    .addHelpText('after', '\nExample:\n  wormhole show 4f1c09ab')
    .action((given: string, options: { json?: boolean }) =>
      run(options, ({ output, withClient }) =>
        withClient(async (client) => {
          const detail = await client.run(await findRun(client, given));
          output.document(detail);
          describeRun(detail, output);
          return EXIT_OK;
        }),
      ),
    );
}

/** Writes a run for people. */
function describeRun(run: RunDetail, output: Output): void {
  const field = (label: string, value: string): void => output.line(`${label.padEnd(LABEL_WIDTH)} ${value}`);
  const version = run.workflowVersion === null ? '' : ` (version ${run.workflowVersion})`;
  field('run', run.id);
  if (run.rerunOf !== null) field('rerun of', run.rerunOf);
  field('tenant', run.tenantId);
  field('workflow', `${displayText(run.workflowName ?? 'unknown')}${version}`);
  field('status', `${output.status(run.status)}${run.reason === null ? '' : ` ${run.reason}`}`);
  if (run.message !== null) field('message', displayText(run.message));
  if (run.cancelRequested) field('cancel', 'requested');
  field('queued', run.queuedAt.toISOString());
  field('waited', formatBetween(run.queuedAt, run.startingAt));
  field('start', `${formatBetween(run.startingAt, run.runningAt)} from slot to first step`);
  field('duration', formatBetween(run.startingAt, run.finishedAt));
  if (run.deadlineAt !== null) field('deadline', run.deadlineAt.toISOString());
  describeSteps(run, output);
  describeAttempts(run, output);
  describeJson('input', run.input, output);
  describeJson('output', run.output, output);
  describeJson('error', run.error, output);
}

function describeSteps({ steps }: RunDetail, output: Output): void {
  if (steps.length === 0) return;
  output.line();
  output.table(
    ['STEP', 'STATUS', 'TRIES', 'DURATION', 'ERROR'],
    steps.map((step) => [
      displayText(step.key),
      output.status(step.status),
      String(step.tries),
      formatBetween(step.startedAt, step.finishedAt),
      step.error === null ? '' : shortened(errorText(step.error), ERROR_WIDTH),
    ]),
  );
}

function describeAttempts({ attempts }: RunDetail, output: Output): void {
  if (attempts.length === 0) return;
  output.line();
  output.table(
    ['ATTEMPT', 'BACKEND', 'CONTAINER', 'EXIT', 'ENDED'],
    attempts.map((attempt) => [
      String(attempt.number),
      attempt.backend,
      attempt.containerId?.slice(0, CONTAINER_ID_LENGTH) ?? '–',
      `${attempt.exitCode ?? '–'}${attempt.oomKilled === true ? ' (out of memory)' : ''}`,
      attempt.reason ?? (attempt.endedAt === null ? '' : 'ok'),
    ]),
  );
}

function describeJson(label: string, value: Json, output: Output): void {
  if (value === null) return;
  output.line();
  output.line(label);
  output.line(displayJson(value, 2));
}

/** @returns a step's error on one line. */
function errorText(error: Json): string {
  if (typeof error !== 'object' || error === null || Array.isArray(error)) return displayJson(error);
  const { code, message } = error;
  return (
    displayText([code, message].filter((part) => typeof part === 'string').join(': ')) || displayJson(error)
  );
}
