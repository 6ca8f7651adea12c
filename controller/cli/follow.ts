import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '../client.ts';
import type { RunId } from '../model/ids.ts';
import { isTerminal, type RunStatus } from '../model/run-status.ts';
import type { LogEntry } from '../store/logs/types.ts';
import type { RunDetail } from '../store/runs.ts';

/** New log lines are looked for this often: the log store has no events. */
const LOG_POLL_MS = 250;
const LOG_PAGE = 500;

/** Told what happens to a run while it is followed. */
export interface Follower {
  onStatus(change: { readonly status: RunStatus; readonly attempt: number }): void;
  onLog(entry: LogEntry): void;
}

/**
 * Follows a run until it has ended and its log is told to the end.
 * @returns the run as it ended.
 * @throws the signal's reason when it aborts first.
 */
export async function followRun(
  client: Client,
  runId: RunId,
  follower: Follower,
  signal: AbortSignal,
): Promise<RunDetail> {
  const finished = new AbortController();
  const either = AbortSignal.any([signal, finished.signal]);
  const ended = client.waitFor(runId, either);
  const statuses = followStatus(client, runId, follower, either);
  const logs = followLogs(client, runId, follower, ended, either);
  try {
    const [run] = await Promise.all([ended, logs]);
    return run;
  } finally {
    finished.abort();
    await Promise.allSettled([ended, statuses, logs]);
  }
}

async function followStatus(
  client: Client,
  runId: RunId,
  follower: Follower,
  signal: AbortSignal,
): Promise<void> {
  for await (const change of client.changes(signal)) {
    if (change.runId !== runId || isTerminal(change.status)) continue;
    follower.onStatus({ status: change.status, attempt: change.attempt });
  }
}

async function followLogs(
  client: Client,
  runId: RunId,
  follower: Follower,
  ended: Promise<unknown>,
  signal: AbortSignal,
): Promise<void> {
  const state = { isOver: false };
  const markOver = (): void => {
    state.isOver = true;
  };
  // Why it is over, if not by the run's end, is told by `ended` itself.
  const over = ended.then(markOver, markOver);
  let after: string | undefined;
  for (;;) {
    const wasOver = state.isOver;
    const { entries, cursor } = await client.logs(runId, { after, limit: LOG_PAGE });
    entries.forEach((entry) => follower.onLog(entry));
    after = cursor;
    if (entries.length > 0) continue;
    if (wasOver) return;
    await Promise.race([over, delay(LOG_POLL_MS, undefined, { signal })]);
  }
}
