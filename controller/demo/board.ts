import { createLogUpdate } from 'log-update';
import { displayText, shortened } from '../cli/display-text.ts';
import { formatBetween } from '../cli/durations.ts';
import { shortId } from '../cli/find-run.ts';
import type { Output, OutputStream } from '../cli/output.ts';
import type { RunId } from '../model/ids.ts';
import { isTerminal, type RunStatus } from '../model/run-status.ts';
import type { RunChange } from '../store/notifications.ts';
import type { Scenario } from './scenarios.ts';

const REDRAW_MS = 200;
/** What the table needs beside the last column; a terminal without a width is taken for a wide one. */
const OTHER_COLUMNS_WIDTH = 76;
const DEFAULT_WIDTH = 140;

interface Row {
  readonly runId: RunId;
  readonly scenario: Scenario;
  readonly submittedAt: Date;
  status: RunStatus;
  attempt: number;
  startingAt: Date | null;
  endedAt: Date | null;
}

/**
 * Shows how the demo's runs get on: a table that is redrawn on a terminal, otherwise a line per change. With
 * `--json`, an object per change.
 */
export class Board {
  readonly #output: Output;
  readonly #stdout: OutputStream;
  readonly #rows = new Map<RunId, Row>();
  readonly #draw: ReturnType<typeof createLogUpdate> | undefined;
  readonly #startedAt = Date.now();
  #timer: NodeJS.Timeout | undefined;

  /** @param stdout where the table is drawn if it is a terminal. */
  constructor(output: Output, stdout: OutputStream) {
    this.#output = output;
    this.#stdout = stdout;
    this.#draw = stdout.isTTY === true && !output.json ? createLogUpdate(stdout) : undefined;
  }

  /** Adds a run that was just submitted. */
  add(runId: RunId, scenario: Scenario): void {
    this.#rows.set(runId, {
      runId,
      scenario,
      submittedAt: new Date(),
      status: 'QUEUED',
      attempt: 0,
      startingAt: null,
      endedAt: null,
    });
    this.#timer ??= this.#draw && setInterval(() => this.#redraw(), REDRAW_MS);
    this.#tell(runId);
  }

  /** Takes a change of one of the runs. */
  change({ runId, status, attempt }: RunChange): void {
    const row = this.#rows.get(runId);
    if (row === undefined || row.status === status) return;
    row.status = status;
    row.attempt = attempt;
    if (status === 'STARTING') row.startingAt = new Date();
    if (isTerminal(status)) row.endedAt = new Date();
    this.#tell(runId);
  }

  /** Ends the table; what it shows last stays. */
  stop(): void {
    clearInterval(this.#timer);
    this.#redraw();
    this.#draw?.done();
  }

  #tell(runId: RunId): void {
    const row = this.#rows.get(runId);
    if (row === undefined) return;
    const { scenario, status, attempt } = row;
    this.#output.event({ type: 'status', runId, tenantId: scenario.tenantId, status, attempt });
    if (this.#draw !== undefined) this.#redraw();
    else {
      const seconds = ((Date.now() - this.#startedAt) / 1000).toFixed(1).padStart(5);
      const what = `${scenario.tenantId.padEnd(6)} ${scenario.workflow}`;
      const shows = status === 'QUEUED' ? `: ${scenario.shows}` : '';
      this.#output.line(`${seconds} s  ${shortId(runId)}  ${status.padEnd(8)}  ${what}${shows}`);
    }
  }

  #redraw(): void {
    const now = new Date();
    const room = Math.max(1, (this.#stdout.columns ?? DEFAULT_WIDTH) - OTHER_COLUMNS_WIDTH);
    this.#draw?.(
      this.#output.renderTable(
        ['RUN', 'TENANT', 'WORKFLOW', 'STATUS', 'WAIT', 'TIME', 'ATTEMPT', 'SHOWS'],
        [...this.#rows.values()].map((row) => [
          shortId(row.runId),
          row.scenario.tenantId,
          displayText(row.scenario.workflow),
          this.#output.status(row.status),
          formatBetween(row.submittedAt, row.startingAt ?? row.endedAt ?? now),
          formatBetween(row.startingAt, row.endedAt ?? now),
          String(row.attempt),
          this.#output.style('dim', shortened(row.scenario.shows, room)),
        ]),
      ),
    );
  }
}
