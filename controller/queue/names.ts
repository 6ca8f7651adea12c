import type { TenantId } from '../model/ids.ts';

/** Where any BullMQ producer may add runs; intake checks them. */
export const INTAKE_QUEUE = 'workflow_runs';
/** One job per run that has its tenant's turn; its global concurrency is the global cap. */
export const DISPATCH_QUEUE = 'dispatch';
/** Jobs that cannot be processed, with why. */
export const DEAD_LETTER_QUEUE = 'dlq';

/** @returns the name of the tenant's own queue, whose global concurrency is the tenant's cap. */
export const tenantQueue = (tenantId: TenantId): string => `tenant.${tenantId}`;
