import { z } from 'zod';
import { LIMITS } from './limits.ts';

/** The key of a step or a connection. */
export const workflowKeySchema = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9_-]{0,62}$/, 'must be a letter, then up to 62 letters, digits, "_" or "-"')
  .refine((k) => !['constructor', 'prototype'].includes(k), 'is a reserved name');

const template = z.string().max(16 * 1024);
const jsonSchema = z.union([z.boolean(), z.record(z.string(), z.json())]);

const httpToken = z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/, 'must be a header name (RFC 9110)');

const retry = z
  .strictObject({
    strategy: z.enum(['NONE', 'FIXED', 'EXPONENTIAL']).describe('How the delay grows from try to try.'),
    attempts: z.int().min(1).max(20).default(3).describe('Tries in all, the first included.'),
    initialDelayMs: z.int().min(0).max(600_000).default(500).describe('Delay before the second try.'),
    maxDelayMs: z
      .int()
      .min(0)
      .max(3_600_000)
      .default(30_000)
      .describe('No delay is longer, Retry-After included.'),
  })
  .describe(
    'Tried again: connection errors, timeouts, and the statuses 408, 425, 429, 500, 502, 503 and 504. Delays have jitter.',
  );

const condition = z
  .strictObject({
    left: z.json().describe('A value; strings may be templates.'),
    operator: z.enum([
      'EQUALS',
      'NOT_EQUALS',
      'GREATER_THAN',
      'GREATER_OR_EQUAL',
      'LESS_THAN',
      'LESS_OR_EQUAL',
      'CONTAINS',
      'EXISTS',
      'NOT_EXISTS',
    ]),
    right: z.json().optional().describe('Unused by EXISTS and NOT_EXISTS.'),
  })
  .describe('The step runs only when this holds; otherwise it is SKIPPED.');

const httpAction = z.strictObject({
  type: z.literal('HTTP'),
  method: z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']),
  endpointTemplate: template.min(1).describe('An http or https URL; template values are percent-encoded.'),
  headers: z.record(httpToken, template).default({}),
  query: z
    .record(z.string().min(1).max(256), z.json())
    .default({})
    .describe('Query parameters; an array repeats.'),
  body: z.json().optional().describe('Sent as JSON; strings in it may be templates.'),
  auth: z
    .strictObject({ connection: workflowKeySchema })
    .optional()
    .describe("Which of the tenant's connections to use."),
  inputSchema: jsonSchema.optional().describe('JSON Schema that the rendered body must satisfy.'),
  outputSchema: jsonSchema.optional().describe("JSON Schema that the response's body must satisfy."),
  timeoutMs: z.int().min(1).max(LIMITS.timeoutMs).default(30_000).describe('Limit of one try.'),
  retry: retry.default({ strategy: 'NONE', attempts: 1, initialDelayMs: 500, maxDelayMs: 30_000 }),
});

const step = z.strictObject({
  key: workflowKeySchema.describe('Unique in the workflow; later steps read `steps.<key>`.'),
  action: httpAction,
  when: condition.optional(),
  continueOnError: z.boolean().default(false).describe('A failure of this step does not fail the run.'),
});

/**
 * A workflow definition: ordered steps, each one HTTP action. JSON Schemas inside it are data to us: only the
 * runner, inside the run's own container, ever evaluates them.
 */
export const workflowDefinitionSchema = z
  .strictObject({
    name: z.string().min(1).max(200),
    inputSchema: jsonSchema.optional().describe("JSON Schema that the run's input must satisfy."),
    steps: z.array(step).min(1).max(LIMITS.steps),
    output: z.json().optional().describe("The run's output; strings in it may be templates. Default: none."),
    timeoutMs: z
      .int()
      .min(100)
      .max(LIMITS.timeoutMs)
      .default(30 * 60 * 1000)
      .describe('Deadline of the whole run, from its start.'),
    limits: z
      .strictObject({
        cpus: z.number().min(0.05).max(64).optional(),
        memoryMb: z.int().min(32).max(262_144).optional(),
      })
      .default({})
      .describe("Resource limits; never above the tenant's, which are also the default."),
    retryAfterClaim: z
      .boolean()
      .default(false)
      .describe('Whether a run whose container was lost after it got its payload may be executed again.'),
  })
  .superRefine((definition, context) => {
    const seen = new Set<string>();
    definition.steps.forEach((s, index) => {
      if (seen.has(s.key)) {
        context.addIssue({
          code: 'custom',
          path: ['steps', index, 'key'],
          message: `"${s.key}" is used twice`,
        });
      }
      seen.add(s.key);
    });
  });

export type WorkflowDefinition = z.infer<typeof workflowDefinitionSchema>;
/** A definition as people write it: defaults left out. */
export type WorkflowDefinitionInput = z.input<typeof workflowDefinitionSchema>;
