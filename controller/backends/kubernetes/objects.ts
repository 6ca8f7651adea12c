import { z } from 'zod';

/** What we read of Kubernetes' objects, as the API server sends them. */

const time = z.coerce.date();

const metadata = z.object({
  name: z.string(),
  uid: z.string(),
  resourceVersion: z.string().default(''),
  creationTimestamp: time,
  deletionTimestamp: time.optional(),
  deletionGracePeriodSeconds: z.number().optional(),
  labels: z.record(z.string(), z.string()).default({}),
  annotations: z.record(z.string(), z.string()).default({}),
  ownerReferences: z.array(z.object({ kind: z.string(), uid: z.string() })).default([]),
});

const condition = z.object({
  type: z.string(),
  status: z.string(),
  reason: z.string().default(''),
  message: z.string().default(''),
  lastTransitionTime: time.nullish(),
});
export type Condition = z.infer<typeof condition>;

const containerStatus = z.object({
  state: z
    .object({
      waiting: z.object({ reason: z.string().default(''), message: z.string().default('') }).optional(),
      running: z.object({ startedAt: time.nullish() }).optional(),
      terminated: z
        .object({
          exitCode: z.number(),
          reason: z.string().default(''),
          message: z.string().default(''),
          finishedAt: time.nullish(),
        })
        .optional(),
    })
    .default({}),
});

export const podSchema = z.object({
  metadata,
  spec: z.object({ nodeName: z.string().optional() }).default({}),
  status: z
    .object({
      phase: z.string().default('Pending'),
      reason: z.string().default(''),
      message: z.string().default(''),
      conditions: z.array(condition).default([]),
      containerStatuses: z.array(containerStatus).default([]),
    })
    .prefault({}),
});
export type Pod = z.infer<typeof podSchema>;

export const jobSchema = z.object({
  metadata,
  spec: z.object({ activeDeadlineSeconds: z.number().optional() }).default({}),
  status: z
    .object({
      active: z.number().default(0),
      conditions: z.array(condition).default([]),
    })
    .prefault({}),
});
export type Job = z.infer<typeof jobSchema>;

export const eventSchema = z.object({
  involvedObject: z.object({ uid: z.string().default('') }),
  reason: z.string().default(''),
  message: z.string().default(''),
});
export type KubeEvent = z.infer<typeof eventSchema>;

export const namespaceSchema = z.object({ metadata });

export const listSchema = z.object({
  metadata: z.object({ resourceVersion: z.string(), continue: z.string().default('') }),
  items: z.array(z.unknown()),
});

/** @returns the condition of this type if it holds. */
export const holds = (conditions: readonly Condition[], type: string): Condition | undefined =>
  conditions.find((c) => c.type === type && c.status === 'True');
