import type { Logger } from 'pino';
import type { Backend } from '../backends/types.ts';
import type { PlatformConfig } from '../config.ts';
import { takeLead } from '../lead.ts';
import { ControllerTelemetry } from '../telemetry/controller-telemetry.ts';
import { required, type OpenComponent } from './component.ts';
import { DatabaseProbe, untilAvailable } from './database.ts';

/** Where a controller's runs get their containers. */
export interface RunPlace {
  /** Called when this controller leads. */
  open(): Promise<Backend>;
  /** Whether an error says that the place is away, and passes by itself. */
  isAway(error: unknown): boolean;
  close(): void;
}

/**
 * The controller: one of several leads, the others stand by, and both are ready while PostgreSQL is there.
 * Stopped, it gives up the lead and leaves the live runs, which are pods or containers of their own, to the next.
 */
export const openControllerComponent: OpenComponent = async ({ config, probes, metrics, log, signal }) => {
  const databaseUrl = required('DATABASE_URL', config.databaseUrl);
  const runs = await runPlace(config, log);
  const telemetry = new ControllerTelemetry({ metrics, instance: config.instance, traces: config.traces });
  const database = new DatabaseProbe(databaseUrl);
  probes.follow(() => database.reasons({ needsSchema: false }));
  const lead = await untilAvailable(
    () =>
      takeLead({
        config,
        databaseUrl,
        log,
        onStandby: () => log.info('another controller leads; standing by'),
        openBackend: () => {
          log.info('leading; taking over what was running');
          return runs.open();
        },
        telemetry,
        signal,
      }),
    { log, signal, passes: (error) => runs.isAway(error) },
  );
  log.info('taking runs');
  return {
    failed: lead.failed,
    stop: async () => {
      await lead.abandon();
      await telemetry.close();
      runs.close();
    },
  };
};

/** Loaded only where they are used: neither kind of place needs the other's libraries. */
async function runPlace(config: PlatformConfig, log: Logger): Promise<RunPlace> {
  if (config.kubernetes === undefined) return (await import('./machine-runs.ts')).machineRuns(config, log);
  return (await import('./cluster-runs.ts')).clusterRuns(config, config.kubernetes, log);
}
