import type { Client } from '../controller/client.ts';
import type { RunId } from '../controller/model/ids.ts';

/** From the start of the runner's process to its first request. */
export interface RunnerStart {
  readonly totalMs: number;
  /** Milliseconds of each part, in their order. */
  readonly parts: Readonly<Record<string, number>>;
}

const LINE = /^runner started in [\d.]+ ms \(([^)]+)\)/;
const PART = /^(.+) ([\d.]+) ms$/;

/**
 * Finds the runner's own breakdown in the run's log, from its first line on: what was before, a process cannot see of
 * itself, as Linux gives its age since its fork, and process 1 was forked before the engine prepared the container.
 * @param interpreterMs what the interpreter takes to get to the first line, measured otherwise. @default - left out
 * @throws when the log has no breakdown.
 */
export async function readRunnerStart(
  client: Client,
  runId: RunId,
  interpreterMs?: number,
): Promise<RunnerStart> {
  const { entries } = await client.logs(runId);
  const line = entries.map(({ message }) => LINE.exec(message)).find((match) => match !== null);
  if (line === undefined)
    throw new Error(`the log of run ${runId} does not say how long the runner took to start`);
  const measured = (line[1] ?? '').split(', ').flatMap((text) => {
    const [, name, ms] = PART.exec(text) ?? [];
    return name === undefined ? [] : [[name, Number(ms)] as const];
  });
  const interpreter = interpreterMs === undefined ? [] : [['interpreter', interpreterMs] as const];
  const parts = [...interpreter, ...measured];
  return { totalMs: parts.reduce((sum, [, ms]) => sum + ms, 0), parts: Object.fromEntries(parts) };
}
