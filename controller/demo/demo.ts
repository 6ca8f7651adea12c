import { pino } from 'pino';
import type { Session } from '../cli/session.ts';
import { peopleLog } from '../cli/people-log.ts';
import type { Client } from '../client.ts';
import { loadEnvironment, type Environment, type PlatformConfig } from '../config.ts';
import { newRunId, type RunId } from '../model/ids.ts';
import { startPlatform } from '../platform.ts';
import { connectEngine, type Engine } from '../setup/engine.ts';
import type { RunDetail } from '../store/runs.ts';
import { Board } from './board.ts';
import { makeDemoFolder, type DemoFolder } from './demo-folder.ts';
import { ephemeralConfig } from './ephemeral-config.ts';
import { findLeftovers, removeDemo, removeLeftovers } from './leftovers.ts';
import {
  DEMO_MAX_CONCURRENT,
  DEMO_TENANTS,
  demoInternalService,
  readWorkflow,
  SCENARIOS,
  type Scenario,
} from './scenarios.ts';
import { startDemoService, type DemoService } from './service.ts';
import { checkCaps, summarise, type Check } from './summary.ts';

const EXIT_AS_EXPECTED = 0;
const EXIT_NOT_AS_EXPECTED = 1;
/** A run of the demo that has not ended after this long never will. */
const DEMO_TIMEOUT_MS = 180_000;

/** A sample run that has ended. */
export interface DemoRun {
  readonly scenario: Scenario;
  readonly run: RunDetail;
}

/**
 * Runs the demo. Whatever happens, Ctrl-C included, nothing of it is left but caches; what is left of one that was
 * killed is removed first.
 * @returns the exit code: 0 exactly when every run ended as it should.
 */
export async function runDemo(session: Session): Promise<number> {
  const { output, interrupt } = session;
  const environment = loadEnvironment(session.env);
  const tellStep = (step: string): void => {
    output.event({ type: 'step', step });
    output.line(`${output.style('dim', '…')} ${step}`);
  };
  interrupt.stop.addEventListener('abort', () => output.note('stopping, and removing everything'));
  let engine: Engine | undefined;
  try {
    engine = await connectEngine({
      dockerHost: environment.dockerHost,
      cacheDir: environment.paths.cacheDir,
      onProgress: tellStep,
    });
    if (await removeLeftovers(engine.docker)) tellStep('removed what an earlier demo had left');
    interrupt.stop.throwIfAborted();

    const folder = await makeDemoFolder();
    try {
      const ended = await withPlatform(session, environment, folder, tellStep);
      const left = await findLeftovers(engine.docker, folder);
      const checks: Check[] = [
        ...checkCaps(ended.map(({ run }) => run)),
        {
          what: 'nothing is left',
          isGood: left.containers.length + left.processes.length === 0,
          detail: `${left.containers.length} containers, ${left.processes.length} processes`,
        },
      ];
      return summarise(ended, checks, output) ? EXIT_AS_EXPECTED : EXIT_NOT_AS_EXPECTED;
    } finally {
      await removeDemo(engine.docker, folder);
    }
  } catch (error) {
    // A program that a step runs may have got the Ctrl-C, too, and failed with another error.
    if (!interrupt.stop.aborted) throw error;
    output.note('stopped; nothing of the demo is left');
    return interrupt.exitCode;
  } finally {
    await engine?.release();
  }
}

/** Starts the platform and the service, lets the sample runs run, and stops both again. */
async function withPlatform(
  session: Session,
  environment: Environment,
  folder: DemoFolder,
  tellStep: (step: string) => void,
): Promise<DemoRun[]> {
  const { output, interrupt, streams } = session;
  const service = await startDemoService();
  try {
    const platform = await startPlatform({
      config: demoConfig(environment, folder, service),
      log: pino({ level: logLevel(session, environment) }, peopleLog(streams.stderr)),
      onStep: tellStep,
      signal: interrupt.stop,
    });
    try {
      interrupt.stop.throwIfAborted();
      const { client, facts } = platform;
      output.event({ type: 'ready', engine: facts.engine, image: facts.image });
      output.line(`${output.style('green', '✓')} ready: ${facts.engine}, image ${facts.image}`);
      for (const { id } of DEMO_TENANTS) {
        for (const [key, credentials] of Object.entries(service.connections)) {
          await client.putConnection(id, key, credentials);
        }
      }
      const signal = AbortSignal.any([interrupt.stop, AbortSignal.timeout(DEMO_TIMEOUT_MS)]);
      return await runScenarios(client, new Board(output, streams.stdout), signal);
    } finally {
      await platform.stop({ drainMs: 0 });
    }
  } finally {
    await service.stop();
  }
}

/** Runs that fail on purpose make warnings: only who asks for the log gets it. */
const logLevel = ({ env }: Session, environment: Environment): string =>
  (env['WORMHOLE_LOG_LEVEL'] ?? '') === '' ? 'error' : environment.logLevel;

const demoConfig = (environment: Environment, folder: DemoFolder, service: DemoService): PlatformConfig =>
  ephemeralConfig(environment, folder, {
    maxConcurrent: DEMO_MAX_CONCURRENT,
    tenants: DEMO_TENANTS,
    internalServices: [demoInternalService(service)],
  });

async function runScenarios(client: Client, board: Board, signal: AbortSignal): Promise<DemoRun[]> {
  const over = new AbortController();
  const toCancel = new Set<RunId>();
  const watching = (async () => {
    for await (const change of client.changes(AbortSignal.any([signal, over.signal]))) {
      board.change(change);
      if (change.status === 'RUNNING' && toCancel.delete(change.runId)) await client.cancel(change.runId);
    }
  })();
  try {
    const submitted = [];
    for (const scenario of SCENARIOS) {
      const { tenantId, input } = scenario;
      const runId = newRunId();
      board.add(runId, scenario);
      if (scenario.cancelWhenRunning === true) toCancel.add(runId);
      await client.submit({ tenantId, definition: readWorkflow(scenario), input, runId });
      submitted.push({ runId, scenario });
    }
    return await Promise.all(
      submitted.map(async ({ runId, scenario }) => ({ scenario, run: await client.waitFor(runId, signal) })),
    );
  } finally {
    over.abort();
    await watching;
    board.stop();
  }
}
