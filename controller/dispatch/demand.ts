import type { TenantId } from '../model/ids.ts';
import type { Priority, StartRate } from '../model/tenant.ts';

/** More runs of one tenant are not started at once. */
export const DUE_AT_MOST = 32;

/** A tenant that has runs which have not ended: what it may have, and what it has and wants. */
export interface TenantDemand {
  readonly tenantId: TenantId;
  readonly maxConcurrent: number;
  readonly weight: number;
  readonly priority: Priority;
  readonly startRate: StartRate | undefined;
  readonly paused: boolean;
  /** Its runs in STARTING or RUNNING. */
  readonly slots: number;
  /** Of these, in STARTING. */
  readonly starting: number;
  /** How many of its QUEUED runs may be started now, counted up to `DUE_AT_MOST`. */
  readonly due: number;
  /** How long until a postponed run of it may be started, in ms; null when none is postponed. */
  readonly dueInMs: number | null;
}

/** What PostgreSQL says at one moment. */
export interface Demand {
  /** The global cap. */
  readonly maxConcurrent: number;
  readonly startRate: StartRate | undefined;
  /** Runs in STARTING or RUNNING of all tenants. */
  readonly slots: number;
  /** Of these, in STARTING. */
  readonly starting: number;
  readonly tenants: readonly TenantDemand[];
}
