import { describe, expect, test } from 'vitest';
import { countWaiting, differences, mostSlots } from '../../../controller/demo/verdict.ts';
import { newRunId, newWorkflowVersionId, tenantIdSchema } from '../../../controller/model/ids.ts';
import type { RunDetail, StepRun } from '../../../controller/store/runs.ts';

const at = (ms: number | null): Date | null => (ms === null ? null : new Date(ms));
const step = (overrides: Partial<StepRun>): StepRun => ({
  ...{
    key: 'call',
    status: 'SUCCESS',
    tries: 1,
    startedAt: null,
    finishedAt: null,
    output: null,
    error: null,
  },
  ...overrides,
});

function run(
  overrides: Partial<RunDetail>,
  times: [number, number | null, number | null] = [0, 1, 2],
): RunDetail {
  const [queuedAt, startingAt, finishedAt] = times;
  return {
    id: newRunId(),
    tenantId: tenantIdSchema.parse('acme'),
    workflowVersionId: newWorkflowVersionId(),
    workflowName: 'sample',
    workflowVersion: 1,
    status: 'SUCCESS',
    reason: null,
    message: null,
    attempt: 1,
    queuedAt: new Date(queuedAt),
    startingAt: at(startingAt),
    runningAt: null,
    finishedAt: at(finishedAt),
    deadlineAt: null,
    containerId: null,
    cancelRequested: false,
    rerunOf: null,
    input: {},
    output: null,
    error: null,
    steps: [],
    attempts: [],
    ...overrides,
  };
}

describe('a run that is not as expected is told', () => {
  const good = run({ output: { n: 1 }, steps: [step({ tries: 3, error: { code: 'HTTP_STATUS' } })] });
  const expected = {
    status: 'SUCCESS',
    reason: null,
    output: { n: 1 },
    steps: { call: { status: 'SUCCESS', tries: 3, errorCode: 'HTTP_STATUS' } },
  } as const;

  test('and one that is, is not', () => {
    expect(differences(expected, good)).toEqual([]);
  });

  test.each([
    ['status', { ...good, status: 'FAILED' as const }],
    ['reason', { ...good, reason: 'OOM_KILLED' as const }],
    ['output', { ...good, output: { n: 2 } }],
    ['step call', { ...good, steps: [] }],
    ['tries of call', { ...good, steps: [step({ tries: 2, error: { code: 'HTTP_STATUS' } })] }],
    ['error of call', { ...good, steps: [step({ tries: 3 })] }],
  ])('by its %s', (what, wrong) => {
    expect(differences(expected, wrong).join()).toContain(what);
  });
});

describe('slots', () => {
  test('are counted while they are held', () => {
    expect(mostSlots([])).toBe(0);
    expect(mostSlots([run({}, [0, 1, 5]), run({}, [0, 2, 3]), run({}, [0, 4, 6])])).toBe(2);
  });

  test('that are freed in the millisecond in which another is taken are not both held', () => {
    expect(mostSlots([run({}, [0, 1, 5]), run({}, [0, 5, 9])])).toBe(1);
  });

  test('are not held by runs that never got one', () => {
    expect(mostSlots([run({}, [0, null, 5])])).toBe(0);
  });
});

test('a run waits if another ended between its submission and its start', () => {
  expect(countWaiting([run({}, [0, 1, 5]), run({}, [0, 6, 9])])).toBe(1);
  expect(countWaiting([run({}, [0, 1, 5]), run({}, [6, 7, 9])])).toBe(0);
});
