import { once } from 'node:events';
import { pino } from 'pino';
import { loadConfig } from '../config.ts';
import type { OpenComponent } from '../control-plane/component.ts';
import { startProbes } from '../control-plane/probes.ts';
import type { WormholeError } from '../errors.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { EXIT_OK } from './exit-codes.ts';
import type { Session } from './session.ts';

/**
 * Runs a component of the control plane until it is told to end, then ends this process. The log goes to standard
 * output, as JSON, because that is where a cluster collects it.
 * @param file the declared file.
 */
export async function serve(session: Session, file: string, open: OpenComponent): Promise<number> {
  const { interrupt, streams, env } = session;
  const config = loadConfig({ env, file });
  const log = pino({ level: config.logLevel }, streams.stdout);
  const metrics = new Metrics({ labelledTenants: config.metricsTenants });
  const probes = await startProbes({ host: config.listenAddress, port: config.probePort }, metrics);
  log.info({ port: probes.port }, 'probes are answered');
  try {
    const component = await open({ config, env, probes, metrics, log, signal: interrupt.stop });
    const { failed } = component;
    const onFailed = (): void => {
      // No stop in order: the live runs are the other controller's now.
      const { message, exitCode } = failed?.reason as WormholeError;
      log.error(message);
      process.exit(exitCode);
    };
    failed?.addEventListener('abort', onFailed);
    if (failed?.aborted === true) onFailed();
    if (!interrupt.stop.aborted) await once(interrupt.stop, 'abort');
    probes.follow(() => Promise.resolve(['stopping']));
    log.info('stopping');
    await component.stop();
  } catch (error) {
    if (!interrupt.stop.aborted) throw error;
  } finally {
    await probes.close();
  }
  log.info('stopped');
  // What a controller leaves to the next one has timers and connections here.
  process.exit(EXIT_OK);
}
