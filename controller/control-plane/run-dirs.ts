import { join } from 'node:path';
import type { PlatformConfig } from '../config.ts';

/**
 * Where the runs of one machine have their folders when controller, gateway and egress proxy are processes of their own.
 * One instance has all of WORMHOLE_RUN_DIR.
 */
export interface RunDirs {
  /** Each run's folder: the claim token and the gateway's socket. */
  readonly gateway: string;
  /** Each run's folder for the egress proxy's socket, which is all that the proxy sees of a run. */
  readonly egress: string;
}

/** @returns the same for all components that have the same WORMHOLE_RUN_DIR. */
export const runDirs = ({ runDir }: PlatformConfig): RunDirs => ({
  gateway: join(runDir, 'gateway'),
  egress: join(runDir, 'egress'),
});
