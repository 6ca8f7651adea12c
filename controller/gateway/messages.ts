import { z } from 'zod';
import type { RunCredentials } from '../model/connection.ts';
import type { Json } from '../model/json.ts';
import { STEP_STATUSES } from '../model/run-status.ts';

/** What the runner and the gateway say to each other: docs/gateway-protocol.md. */

const json = z.unknown().transform((value) => (value ?? null) as Json);
const timestamp = z.iso
  .datetime({ offset: true })
  .transform((text) => new Date(text))
  // PostgreSQL has no year 0.
  .refine((date) => date.getTime() > 0, 'is before 1970');

export const claimRequestSchema = z.object({ runnerVersion: z.string().max(64) });

/** A connection in the claim: usable credentials, or why there are none. */
export type ClaimedConnection = RunCredentials | { readonly kind: 'UNAVAILABLE'; readonly message: string };

export interface ClaimResponse {
  readonly run: {
    readonly id: string;
    readonly attempt: number;
    readonly tenantId: string;
    readonly workflowVersionId: string;
  };
  readonly definition: Json;
  readonly input: Json;
  readonly connections: Readonly<Record<string, ClaimedConnection>>;
  /** The W3C trace context that each step sends, by its key. */
  readonly traceparents: Readonly<Record<string, string>>;
  readonly deadlineMs: number;
  readonly reportToken: string;
  readonly egress: { readonly proxyUrl: string; readonly grant: string };
  readonly limits: {
    readonly outputBytes: number;
    readonly logMessageBytes: number;
    readonly logBytesPerRun: number;
    readonly responseBytes: number;
  };
}

const stepSchema = z.object({
  key: z.string().max(63),
  status: z.enum(STEP_STATUSES),
  startedAt: timestamp.optional(),
  finishedAt: timestamp.optional(),
  tries: z.int().min(0).max(1_000_000).optional(),
  output: json.optional(),
  error: json.optional(),
});

const logSchema = z.object({
  sequence: z.int().min(1),
  timestamp,
  level: z.enum(['DEBUG', 'INFO', 'WARN', 'ERROR']),
  stepKey: z.string().max(63).optional(),
  message: z.string(),
  fields: json.optional(),
});

export const reportSchema = z.object({
  sequence: z.int().min(1).max(2_000_000_000),
  steps: z.array(stepSchema).max(1000).default([]),
  logs: z.array(logSchema).max(10_000).default([]),
  droppedLogs: z.int().min(0).default(0),
});
export type Report = z.infer<typeof reportSchema>;

export const resultSchema = z.discriminatedUnion('status', [
  z.object({ status: z.literal('SUCCESS'), output: json.optional() }),
  z.object({
    status: z.literal('FAILED'),
    reason: z.enum(['STEP_FAILED', 'INPUT_INVALID', 'RUNNER_CRASHED']),
    message: z.string().default(''),
    output: json.optional(),
    error: json.optional(),
  }),
  z.object({
    status: z.literal('TIMEOUT'),
    reason: z.literal('DEADLINE_EXCEEDED'),
    message: z.string().default(''),
    error: json.optional(),
  }),
  z.object({
    status: z.literal('CANCELED'),
    reason: z.literal('CANCELED'),
    message: z.string().default(''),
    error: json.optional(),
  }),
]);
export type ResultMessage = z.infer<typeof resultSchema>;
