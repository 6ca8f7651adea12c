import { z } from 'zod';
import type { k8s } from '../imports/k8s.ts';
import { cpuQuantity, mebibyteQuantity } from './quantity.ts';

/** What one run may use, and what is reserved for it: requests equal limits, so a cap is a promise of capacity. */
export interface RunSize {
  /**
   * CPU cores, rounded up to thousandths.
   * @default 1
   */
  readonly cpus?: number;
  /**
   * Memory in MiB, `/tmp` included.
   * @default 512
   */
  readonly memoryMb?: number;
  /**
   * Size of the in-memory `/tmp` in MiB; more than `memoryMb` counts as `memoryMb`.
   * @default 64
   */
  readonly tmpMb?: number;
}

/** The disk that a run may use, in MiB: its root is read-only and `/tmp` is memory, so only its log is there. */
const STORAGE_MB = 64;

/** Ranges as the controller's tenants have them. */
export const runSizeShape = {
  cpus: z.number().min(0.05).max(64).default(1),
  memoryMb: z.int().min(32).max(262_144).default(512),
  tmpMb: z.int().min(1).max(65_536).default(64),
};

export const runSizeSchema = z.strictObject(runSizeShape).prefault({});

/** A run's size with its defaults filled in. */
export type CheckedRunSize = z.output<typeof runSizeSchema>;

/** The resources that are requested, limited and under quota. */
export const RUN_RESOURCES = ['cpu', 'memory', 'ephemeral-storage'] as const;

/** @returns what a run of this size uses, by resource. */
export const runResources = (size: CheckedRunSize): Record<(typeof RUN_RESOURCES)[number], k8s.Quantity> => ({
  // 0.07 * 1000 is 70.00000000000001: what is below a millionth of a core is noise.
  cpu: cpuQuantity(Math.ceil(Number((size.cpus * 1000).toFixed(3)))),
  memory: mebibyteQuantity(size.memoryMb),
  'ephemeral-storage': mebibyteQuantity(STORAGE_MB),
});
