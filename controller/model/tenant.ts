import { z } from 'zod';
import { tenantIdSchema } from './ids.ts';
import { LIMITS } from './limits.ts';

const host = z
  .string()
  .max(253)
  .regex(
    /^(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
    'must be a lower-case domain name, optionally starting with "*."',
  )
  .refine((h) => !/^[0-9.]+$/.test(h), 'must be a domain name, not an address');

/** One line of an allowlist: a name (`api.example.com`, or `*.example.com` for everything below it) and ports. */
export const egressRuleSchema = z.strictObject({
  host,
  ports: z.array(z.int().min(1).max(65_535)).min(1).max(32).default([443]),
});
export type EgressRule = z.infer<typeof egressRuleSchema>;

/** What a tenant's runs may reach. Private addresses are refused in every mode. */
export const egressPolicySchema = z.strictObject({
  mode: z.enum(['deny', 'allowlist', 'unrestricted']).default('deny'),
  allow: z.array(egressRuleSchema).max(1000).default([]),
});
export type EgressPolicy = z.infer<typeof egressPolicySchema>;

/** Order in which tenants with work get free slots; within a class slots are shared fairly. */
export const PRIORITIES = ['high', 'normal', 'low'] as const;
export type Priority = (typeof PRIORITIES)[number];

/** At most `max` starts within any `durationMs`. */
export const startRateSchema = z.strictObject({
  max: z.int().min(1).max(10_000),
  durationMs: z.int().min(100).max(3_600_000).default(1000),
});
export type StartRate = z.infer<typeof startRateSchema>;

/** A tenant as the platform team declares it. */
export const tenantSchema = z.strictObject({
  id: tenantIdSchema,
  maxConcurrent: z.int().min(1).max(100_000).default(5).describe('Runs in STARTING or RUNNING at once.'),
  maxQueued: z.int().min(0).max(10_000_000).default(10_000).describe('Runs in QUEUED at once.'),
  whenFull: z
    .enum(['reject', 'wait'])
    .default('reject')
    .describe('What becomes of a run that is submitted while maxQueued runs are queued.'),
  weight: z.int().min(1).max(1000).default(1).describe('Its share of the global cap, relative to others.'),
  priority: z.enum(PRIORITIES).default('normal').describe('Tenants of a higher class get slots first.'),
  startRate: startRateSchema.exactOptional().describe('How fast runs are started. Unset: as slots allow.'),
  maxTimeoutMs: z
    .int()
    .min(1000)
    .max(LIMITS.timeoutMs)
    .default(30 * 60 * 1000)
    .describe("No run's deadline is further away than this."),
  limits: z
    .strictObject({
      cpus: z.number().min(0.05).max(64).default(1),
      memoryMb: z.int().min(32).max(262_144).default(512),
      pids: z.int().min(8).max(32_768).default(128),
      tmpMb: z.int().min(1).max(65_536).default(64),
    })
    .default({ cpus: 1, memoryMb: 512, pids: 128, tmpMb: 64 })
    .describe('Resource limits of one run.'),
  egress: egressPolicySchema.default({ mode: 'deny', allow: [] }),
});
export type Tenant = z.infer<typeof tenantSchema>;
