import { z } from 'zod';
import { egressPolicySchema } from './egress.ts';
import { tenantIdSchema } from './names.ts';
import { runSizeShape } from './run-size.ts';

const MAX_TIMEOUT_MS = 24 * 60 * 60 * 1000;

/** A tenant as an environment declares it: the controller's shape, but for the environment's default egress. */
export const tenantSchema = z.strictObject({
  id: tenantIdSchema,
  maxConcurrent: z.int().min(1).max(100_000).default(5),
  maxQueued: z.int().min(0).max(10_000_000).default(10_000),
  maxTimeoutMs: z
    .int()
    .min(1000)
    .max(MAX_TIMEOUT_MS)
    .default(30 * 60 * 1000),
  // Kubernetes limits processes for a whole node only (the kubelet's podPidsLimit): pids is for other backends.
  limits: z.strictObject({ ...runSizeShape, pids: z.int().min(8).max(32_768).default(128) }).prefault({}),
  egress: egressPolicySchema.exactOptional(),
});
