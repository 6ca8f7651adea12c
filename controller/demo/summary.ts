import { displayText } from '../cli/display-text.ts';
import { formatBetween } from '../cli/durations.ts';
import { shortId } from '../cli/find-run.ts';
import type { Output } from '../cli/output.ts';
import type { RunDetail } from '../store/runs.ts';
import type { DemoRun } from './demo.ts';
import { DEMO_MAX_CONCURRENT, DEMO_TENANTS } from './scenarios.ts';
import { countWaiting, differences, mostSlots } from './verdict.ts';

const CONTAINER_ID_LENGTH = 12;

/** Something that must hold of the demo as a whole. */
export interface Check {
  readonly what: string;
  readonly isGood: boolean;
  readonly detail: string;
}

/** @returns whether the caps held, and whether runs waited where the cap of their tenant made them. */
export function checkCaps(runs: readonly RunDetail[]): Check[] {
  const all = mostSlots(runs);
  return [
    ...DEMO_TENANTS.map(({ id, maxConcurrent }) => {
      const most = mostSlots(runs.filter(({ tenantId }) => tenantId === id));
      return {
        what: `cap of ${id}`,
        isGood: most <= maxConcurrent,
        detail: `${most} at once, at most ${maxConcurrent} allowed`,
      };
    }),
    {
      what: 'global cap',
      isGood: all <= DEMO_MAX_CONCURRENT,
      detail: `${all} at once, at most ${DEMO_MAX_CONCURRENT} allowed`,
    },
    ...DEMO_TENANTS.filter(({ maxConcurrent }) => maxConcurrent === 1).map(({ id }) => {
      const own = runs.filter(({ tenantId }) => tenantId === id);
      const waiting = countWaiting(own);
      return {
        what: `runs of ${id} wait for its cap`,
        isGood: waiting === own.length - 1,
        detail: `${waiting} of ${own.length} waited`,
      };
    }),
  ];
}

/**
 * Says how every run ended and whether that is as it should be, and how to go on.
 * @returns whether everything is as it should be.
 */
export function summarise(ended: readonly DemoRun[], checks: readonly Check[], output: Output): boolean {
  const verdicts = ended.map(({ scenario, run }) => ({
    scenario,
    run,
    differences: differences(scenario.expected, run),
  }));
  const wrong = verdicts.filter((verdict) => verdict.differences.length > 0);
  const isGood = wrong.length === 0 && checks.every((check) => check.isGood);
  const mark = (good: boolean): string => (good ? output.style('green', '✓') : output.style('red', '✗'));

  output.line();
  output.table(
    [
      'RUN',
      'TENANT',
      'WORKFLOW',
      'STATUS',
      'REASON',
      'WAIT',
      'START',
      'DURATION',
      'CONTAINER',
      'AS EXPECTED',
    ],
    verdicts.map(({ run, differences: wrongs }) => [
      shortId(run.id),
      run.tenantId,
      displayText(run.workflowName ?? '–'),
      output.status(run.status),
      run.reason ?? '',
      formatBetween(run.queuedAt, run.startingAt),
      formatBetween(run.startingAt, run.runningAt),
      formatBetween(run.startingAt, run.finishedAt),
      run.containerId?.slice(0, CONTAINER_ID_LENGTH) ?? '–',
      mark(wrongs.length === 0),
    ]),
  );
  output.line();
  for (const { scenario, run, differences: wrongs } of wrong) {
    output.line(`${mark(false)} ${scenario.workflow} (${run.id}): ${displayText(wrongs.join('; '))}`);
  }
  for (const check of checks) output.line(`${mark(check.isGood)} ${check.what}: ${check.detail}`);
  output.line();
  output.line(
    isGood
      ? `${ended.length} runs, all ended as they should, each in a container of its own that is gone.`
      : `Not everything is as it should be: ${wrong.length} of ${ended.length} runs, ${checks.filter((check) => !check.isGood).length} of ${checks.length} checks.`,
  );
  if (isGood) {
    output.line();
    output.line('Your own workflow, in five minutes: README.md. The sample workflows: examples/.');
  }
  output.event({
    type: 'summary',
    isGood,
    runs: verdicts.map(({ scenario, run, differences: wrongs }) => ({
      ...run,
      expected: scenario.expected,
      differences: wrongs,
    })),
    checks,
  });
  return isGood;
}
