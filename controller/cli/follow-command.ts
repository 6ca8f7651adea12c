import type { Client } from '../client.ts';
import type { RunId } from '../model/ids.ts';
import { tellEnd } from './ended-run.ts';
import { shortId } from './find-run.ts';
import { followRun } from './follow.ts';
import { logLine } from './log-line.ts';
import type { Session } from './session.ts';

/**
 * Tells a run's status changes and log lines until it has ended. Ctrl-C ends the telling, not the run.
 * @returns the exit code: that of the run's status, or of the interrupt.
 */
export async function tellRun(client: Client, runId: RunId, session: Session): Promise<number> {
  const { output, interrupt } = session;
  try {
    const run = await followRun(
      client,
      runId,
      {
        onStatus({ status, attempt }) {
          output.event({ type: 'status', runId, status, attempt });
          output.line(output.style('dim', `${status}${attempt > 1 ? ` (attempt ${attempt})` : ''}`));
        },
        onLog(entry) {
          output.event({ type: 'log', ...entry });
          output.line(logLine(entry, output));
        },
      },
      interrupt.stop,
    );
    return tellEnd(run, output);
  } catch (error) {
    if (!interrupt.stop.aborted) throw error;
    output.note(
      `the run goes on: "wormhole logs ${shortId(runId)} --follow", "wormhole cancel ${shortId(runId)}"`,
    );
    return interrupt.exitCode;
  }
}
