import { z } from 'zod';
import { RUN_PRIORITIES } from './constructs/priority-classes.ts';
import { egressPolicySchema } from './egress.ts';
import { tenantIdSchema } from './names.ts';
import { runSizeShape } from './run-size.ts';

const MAX_TIMEOUT_MS = 24 * 60 * 60 * 1000;

/** At most `max` starts within any `durationMs`. */
export const startRateSchema = z.strictObject({
  max: z.int().min(1).max(10_000),
  durationMs: z.int().min(100).max(3_600_000).default(1000),
});

/** A tenant as an environment declares it: the controller's shape, but for the environment's default egress. */
export const tenantSchema = z.strictObject({
  id: tenantIdSchema,
  maxConcurrent: z.int().min(1).max(100_000).default(5),
  maxQueued: z.int().min(0).max(10_000_000).default(10_000),
  /** What becomes of a run that is submitted while `maxQueued` runs are queued. */
  whenFull: z.enum(['reject', 'wait']).default('reject'),
  /** Its share of the global cap, relative to other tenants. */
  weight: z.int().min(1).max(1000).default(1),
  /** Tenants of a higher class get free slots first. Not the Kubernetes class of its pods. */
  priority: z.enum(RUN_PRIORITIES).default('normal'),
  startRate: startRateSchema.exactOptional(),
  maxTimeoutMs: z
    .int()
    .min(1000)
    .max(MAX_TIMEOUT_MS)
    .default(30 * 60 * 1000),
  // Kubernetes limits processes for a whole node only (the kubelet's podPidsLimit): pids is for other backends.
  limits: z.strictObject({ ...runSizeShape, pids: z.int().min(8).max(32_768).default(128) }).prefault({}),
  egress: egressPolicySchema.exactOptional(),
});
