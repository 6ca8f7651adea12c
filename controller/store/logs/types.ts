import type { RunId, TenantId } from '../../model/ids.ts';
import type { Json } from '../../model/json.ts';

export const LOG_LEVELS = ['DEBUG', 'INFO', 'WARN', 'ERROR'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Who wrote the line: the run itself, the egress proxy about it, or the platform about it. */
export const LOG_SOURCES = ['runner', 'egress', 'platform'] as const;
export type LogSource = (typeof LOG_SOURCES)[number];

/** One line of a run's log. Run, attempt, source and sequence name it. */
export interface LogEntry {
  /** By the clock of whoever wrote it. */
  readonly timestamp: Date;
  readonly tenantId: TenantId;
  readonly runId: RunId;
  readonly attempt: number;
  readonly source: LogSource;
  /** From 1, ascending within an attempt and source; gaps are allowed. */
  readonly sequence: number;
  readonly stepKey: string | null;
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: Json | null;
}

export interface LogQuery {
  /** Whose run: another tenant's lines are never found. */
  readonly tenantId: TenantId;
  readonly runId: RunId;
  /** The cursor of an earlier page, to read what comes after it. */
  readonly after?: string;
  /** How many lines at most. @default 1000 */
  readonly limit?: number;
}

export interface LogPage {
  /** By attempt, then by time; the lines of one source are never out of their sequence, whatever its clock did. */
  readonly entries: readonly LogEntry[];
  /** Where the next page starts. Good for ever: after an empty page it finds what was appended since. */
  readonly cursor: string;
}

/** Where log lines are kept. */
export interface LogStore {
  /**
   * Stores lines, of any number of runs. Lines that are there already stay as they are, so a batch can be repeated
   * after any failure, of which it may have stored a part. The batches of one attempt and source come one
   * after the other; then no reader misses a line.
   */
  append(batch: readonly LogEntry[]): Promise<void>;

  /**
   * Reads the lines of one run, all attempts.
   * @throws {WormholeError} `PAYLOAD_INVALID` for a cursor that is none.
   */
  read(query: LogQuery): Promise<LogPage>;

  /** Lets go of what the store opened. */
  close(): Promise<void>;
}
