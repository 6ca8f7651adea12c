import type { Client } from '../controller/client.ts';
import type { RunId } from '../controller/model/ids.ts';

/** From the start of the runner's process to its first request. */
export interface RunnerStart {
  readonly totalMs: number;
  /** Milliseconds of each part, in their order. */
  readonly parts: Readonly<Record<string, number>>;
}

const LINE = /^runner started in [\d.]+ ms \((.+)\)$/;
const PART = /^(.+) ([\d.]+) ms$/;
/** The part that comes before the runner's first line. */
const INTERPRETER = 'interpreter';

/**
 * Finds the runner's own breakdown in the run's log. But for its first part, which the runner cannot measure:
 * Linux gives a process's age since its fork, and process 1 was forked before the engine prepared the container. So
 * the time begins with the engine's `start` event, and the first part is what the others leave of it.
 * @param started when the engine started the container, in milliseconds since the epoch.
 * @throws when the log has no breakdown.
 */
export async function readRunnerStart(client: Client, runId: RunId, started: number): Promise<RunnerStart> {
  const { entries } = await client.logs(runId);
  for (const { message, timestamp } of entries) {
    const line = LINE.exec(message);
    if (line === null) continue;
    const measured = (line[1] ?? '').split(', ').flatMap((text) => {
      const [, name, ms] = PART.exec(text) ?? [];
      return name === undefined || name === INTERPRETER ? [] : [[name, Number(ms)] as const];
    });
    const totalMs = timestamp.getTime() - started;
    const interpreter = totalMs - measured.reduce((sum, [, ms]) => sum + ms, 0);
    return { totalMs, parts: { [INTERPRETER]: interpreter, ...Object.fromEntries(measured) } };
  }
  throw new Error(`the log of run ${runId} does not say how long the runner took to start`);
}
