import type { Logger } from 'pino';
import type { PlatformConfig } from '../config.ts';
import { WormholeError } from '../errors.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Probes } from './probes.ts';

/** What a component of the control plane runs with. */
export interface ComponentContext {
  readonly config: PlatformConfig;
  /** For what Kubernetes itself puts there. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Told how to find out whether the component is ready, as soon as that can be said. */
  readonly probes: Probes;
  /** What the component counts and measures; served beside the probes. */
  readonly metrics: Metrics;
  readonly log: Logger;
  /** Gives the start up. */
  readonly signal: AbortSignal;
}

/** A component of the control plane that is at work. */
export interface Component {
  /** Aborts, with why as its reason, when the process must exit at once, without `stop`. */
  readonly failed?: AbortSignal;
  /** Ends the work in order; the process exits then, whatever it still has open. */
  stop(): Promise<void>;
}

/** Starts a component, and waits for what it needs as long as that may still come. */
export type OpenComponent = (context: ComponentContext) => Promise<Component>;

/** @throws {WormholeError} CONFIG_INVALID when the variable is not set. */
export function required(variable: string, value: string | undefined): string {
  if (value !== undefined) return value;
  throw new WormholeError(
    'CONFIG_INVALID',
    `the environment: ${variable}: is missing; set it, or have a file of that name in WORMHOLE_SECRETS_DIR`,
  );
}
