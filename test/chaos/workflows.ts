import type { WorkflowDefinitionInput } from '../../controller/model/workflow-definition.ts';
import { EXECUTION_HEADER, FAR_HOST } from './far-service.ts';

/** What runs of the load execute. */
export const WORKFLOWS = ['once', 'repeatable', 'long'] as const;
export type WorkflowName = (typeof WORKFLOWS)[number];

/** The steps of each, in order. */
export const STEPS: Readonly<Record<WorkflowName, readonly string[]>> = {
  once: ['begin', 'work'],
  repeatable: ['begin', 'work'],
  long: ['begin', 'work', 'end'],
};

/** @returns whether another attempt may execute a run of it after one has its payload. */
export const mayRepeat = (workflow: WorkflowName): boolean => workflow === 'repeatable';

/** Longer than the platform is away for in any fault: a run of this load fails for no other reason than that it was killed. */
const TIMEOUT_MS = 180_000;
const TRY_MS = 10_000;
const RETRY = { strategy: 'EXPONENTIAL', attempts: 20, initialDelayMs: 250, maxDelayMs: 3_000 } as const;

/** @returns the definition; the input has `marker` and `ms`, how long the far side takes for the step `work`. */
export const definitionOf = (workflow: WorkflowName): WorkflowDefinitionInput => ({
  name: `chaos-${workflow}`,
  timeoutMs: TIMEOUT_MS,
  retryAfterClaim: mayRepeat(workflow),
  steps: STEPS[workflow].map((key) => ({
    key,
    action: {
      type: 'HTTP',
      method: 'POST',
      endpointTemplate: `http://${FAR_HOST}/${key}${key === 'work' ? '?ms={{ input.ms }}' : ''}`,
      headers: key === 'begin' ? {} : { [EXECUTION_HEADER]: '{{ steps.begin.output.body.execution }}' },
      body: { marker: '{{ input.marker }}' },
      timeoutMs: TRY_MS,
      retry: RETRY,
    },
  })),
});
