import type { Session } from '../cli/session.ts';
import type { Client } from '../client.ts';
import { loadEnvironment } from '../config.ts';
import { newRunId, type RunId } from '../model/ids.ts';
import type { RunDetail } from '../store/runs.ts';
import { Board } from './board.ts';
import { DEMO_TENANTS, readWorkflow, SCENARIOS, type Scenario } from './scenarios.ts';
import type { OpenStage } from './stage.ts';
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
export async function runDemo(session: Session, openStage: OpenStage): Promise<number> {
  const { output, interrupt, streams } = session;
  const tellStep = (step: string): void => {
    output.event({ type: 'step', step });
    output.line(`${output.style('dim', '…')} ${step}`);
  };
  interrupt.stop.addEventListener('abort', () => output.note('stopping, and removing everything'));
  try {
    await using stage = await openStage({ session, environment: loadEnvironment(session.env), tellStep });
    interrupt.stop.throwIfAborted();
    const { client, facts, connections } = stage;
    output.event({ type: 'ready', engine: facts.engine, image: facts.image });
    output.line(`${output.style('green', '✓')} ready: ${facts.engine}, image ${facts.image}`);
    for (const { id } of DEMO_TENANTS) {
      for (const [key, credentials] of Object.entries(connections)) {
        await client.putConnection(id, key, credentials);
      }
    }
    const signal = AbortSignal.any([interrupt.stop, AbortSignal.timeout(DEMO_TIMEOUT_MS)]);
    const ended = await runScenarios(client, new Board(output, streams.stdout), signal);
    const left = await stage.stop();
    const checks: Check[] = [
      ...checkCaps(ended.map(({ run }) => run)),
      {
        what: 'nothing is left',
        isGood: left.length === 0,
        detail: left.join(', ') || 'all containers are gone',
      },
    ];
    return summarise(ended, checks, output) ? EXIT_AS_EXPECTED : EXIT_NOT_AS_EXPECTED;
  } catch (error) {
    // A program that a step runs may have got the Ctrl-C, too, and failed with another error.
    if (!interrupt.stop.aborted) throw error;
    output.note('stopped; nothing of the demo is left');
    return interrupt.exitCode;
  }
}

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
