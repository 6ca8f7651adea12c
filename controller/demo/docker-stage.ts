import { pino } from 'pino';
import { peopleLog } from '../cli/people-log.ts';
import type { Environment } from '../config.ts';
import { startPlatform } from '../platform.ts';
import { connectEngine } from '../setup/engine.ts';
import { makeDemoFolder } from './demo-folder.ts';
import { ephemeralConfig } from './ephemeral-config.ts';
import { findLeftovers, removeDemo, removeLeftovers } from './leftovers.ts';
import { DEMO_MAX_CONCURRENT, DEMO_TENANTS, demoInternalService } from './scenarios.ts';
import { startDemoService } from './service.ts';
import type { DemoStage, StageOptions } from './stage.ts';

/** The platform of one machine: everything in this process, runs in containers of the engine that is found. */
export async function openDockerStage({ session, environment, tellStep }: StageOptions): Promise<DemoStage> {
  const { interrupt, streams } = session;
  await using opened = new AsyncDisposableStack();
  const engine = await connectEngine({
    dockerHost: environment.dockerHost,
    cacheDir: environment.paths.cacheDir,
    onProgress: tellStep,
  });
  opened.defer(() => engine.release());
  if (await removeLeftovers(engine.docker)) tellStep('removed what an earlier demo had left');
  interrupt.stop.throwIfAborted();

  const folder = await makeDemoFolder();
  opened.defer(() => removeDemo(engine.docker, folder));
  const service = await startDemoService();
  opened.defer(() => service.stop());
  const platform = await startPlatform({
    config: ephemeralConfig(environment, folder, {
      maxConcurrent: DEMO_MAX_CONCURRENT,
      tenants: DEMO_TENANTS,
      internalServices: [demoInternalService(service)],
    }),
    log: pino({ level: logLevel(session, environment) }, peopleLog(streams.stderr)),
    onStep: tellStep,
    signal: interrupt.stop,
  });
  opened.defer(() => platform.stop({ drainMs: 0 }));

  const parts = opened.move();
  const { client, facts } = platform;
  return {
    client,
    facts,
    connections: service.connections,
    async stop() {
      await platform.stop({ drainMs: 0 });
      const { containers, processes } = await findLeftovers(engine.docker, folder);
      return [...containers.map((id) => `container ${id}`), ...processes.map((pid) => `process ${pid}`)];
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** Runs that fail on purpose make warnings: only who asks for the log gets it. */
const logLevel = ({ env }: StageOptions['session'], environment: Environment): string =>
  (env['WORMHOLE_LOG_LEVEL'] ?? '') === '' ? 'error' : environment.logLevel;
