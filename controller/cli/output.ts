import { styleText } from 'node:util';
import Table from 'cli-table3';
import { messageOf, WormholeError } from '../errors.ts';
import type { RunStatus, StepStatus } from '../model/run-status.ts';
import { displayJson, displayText } from './display-text.ts';
import { UsageError } from './usage-error.ts';

/** A stream that may be a terminal. */
export type OutputStream = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };

/** Where a command reads and writes. */
export interface Streams {
  readonly stdin: NodeJS.ReadableStream;
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
}

type Style = Parameters<typeof styleText>[0];

const STATUS_STYLES: Readonly<Record<RunStatus | StepStatus, Style>> = {
  QUEUED: 'dim',
  STARTING: 'cyan',
  RUNNING: 'blue',
  SUCCESS: 'green',
  FAILED: 'red',
  TIMEOUT: 'magenta',
  CANCELED: 'yellow',
  SKIPPED: 'dim',
};

const NO_BORDERS = {
  ...{ top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '' },
  ...{ 'bottom-left': '', 'bottom-right': '', left: '', 'left-mid': '', mid: '', 'mid-mid': '' },
  ...{ right: '', 'right-mid': '', middle: '  ' },
};

/** Writes what a command has to say: for people, or with `--json` for programs. */
export class Output {
  readonly json: boolean;
  readonly #streams: Pick<Streams, 'stdout' | 'stderr'>;

  constructor(streams: Pick<Streams, 'stdout' | 'stderr'>, json: boolean) {
    this.#streams = streams;
    this.json = json;
  }

  /** Writes one line for people; nothing with `--json`. */
  line(text = ''): void {
    if (!this.json) this.#streams.stdout.write(`${text}\n`);
  }

  /** Writes a remark for people to standard error; nothing with `--json`. */
  note(text: string): void {
    if (!this.json) this.#streams.stderr.write(`${text}\n`);
  }

  /** Writes the command's one JSON document; nothing without `--json`. */
  document(value: unknown): void {
    if (this.json) this.#streams.stdout.write(`${displayJson(value, 2)}\n`);
  }

  /** Writes one JSON object on a line of its own, of a command that follows something; nothing without `--json`. */
  event(value: unknown): void {
    if (this.json) this.#streams.stdout.write(`${displayJson(value)}\n`);
  }

  /** Writes an aligned table for people; nothing with `--json`. Cells must be safe to print. */
  table(head: readonly string[], rows: readonly (readonly string[])[]): void {
    this.line(this.renderTable(head, rows));
  }

  /** @returns an aligned table without borders. Cells must be safe to print. */
  renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
    const table = new Table({
      head: head.map((title) => this.style('bold', title)),
      chars: NO_BORDERS,
      style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    });
    table.push(...rows.map((row) => [...row]));
    return table
      .toString()
      .split('\n')
      .map((line) => line.trimEnd())
      .join('\n');
  }

  /** Styles text if standard output is a terminal that wants colour (NO_COLOR, FORCE_COLOR). */
  style(style: Style, text: string): string {
    return styleText(style, text, { stream: this.#streams.stdout });
  }

  /** @returns the status in its colour. */
  status(status: RunStatus | StepStatus): string {
    return this.style(STATUS_STYLES[status], status);
  }

  /** Writes an error to standard error: one line for people, one object with `--json`. */
  error(error: unknown): void {
    const { code, message, retryAfterMs } = described(error);
    if (this.json) {
      this.#streams.stderr.write(`${displayJson({ error: { code, message, retryAfterMs } })}\n`);
    } else {
      const wait = retryAfterMs === undefined ? '' : ` (try again in ${Math.ceil(retryAfterMs / 1000)} s)`;
      const line = displayText(message.trim().replaceAll(/\s*\n\s*/g, ' | '));
      this.#streams.stderr.write(`wormhole: ${code}: ${line}${wait}\n`);
    }
  }
}

function described(error: unknown): { code: string; message: string; retryAfterMs?: number | undefined } {
  if (error instanceof WormholeError) {
    return { code: error.code, message: error.message, retryAfterMs: error.retryAfterMs };
  }
  if (error instanceof UsageError) return { code: 'USAGE', message: error.message };
  const hint = 'this is a defect; WORMHOLE_LOG_LEVEL=debug shows where it happened';
  return { code: 'INTERNAL', message: `${messageOf(error)} (${hint})` };
}
