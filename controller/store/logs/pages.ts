import { WormholeError } from '../../errors.ts';
import { LOG_SOURCES, type LogEntry, type LogPage, type LogQuery, type LogSource } from './types.ts';

/** What one source wrote about one attempt, behind a sequence number. */
export interface LogStream {
  readonly attempt: number;
  readonly source: LogSource;
  readonly after: number;
}

/** What a log store must find for its pages. */
export interface StreamReader {
  /** @returns the number of the run's last attempt that has a line, 0 when there is none. */
  lastAttempt(query: LogQuery): Promise<number>;
  /** @returns the first `limit` lines of each stream, in any order. */
  linesOf(query: LogQuery, streams: readonly LogStream[], limit: number): Promise<LogEntry[]>;
}

const DEFAULT_LIMIT = 1000;
/** e.g. `1r17.1e3.2p1`: attempt, first letter of the source, sequence. */
const CURSOR = /^(?:[1-9]\d{0,8}[rep]\d{1,16}(?:\.(?!$)|$)){0,1000}$/;

/**
 * Puts a page together. The cursor holds how far each source was read, not one position in all lines: sources are
 * apart, so that a line which arrives late, behind lines of another source with a later time, is still found.
 */
export async function readPage(reader: StreamReader, query: LogQuery): Promise<LogPage> {
  const seen = parseCursor(query.after ?? '');
  const limit = query.limit ?? DEFAULT_LIMIT;
  const streams: LogStream[] = [];
  const last = await reader.lastAttempt(query);
  for (let attempt = 1; attempt <= last; attempt += 1) {
    for (const source of LOG_SOURCES) {
      streams.push({ attempt, source, after: seen.get(streamKey(attempt, source)) ?? 0 });
    }
  }
  const entries = inOrder(await reader.linesOf(query, streams, limit)).slice(0, limit);
  for (const entry of entries) seen.set(streamKey(entry.attempt, entry.source), entry.sequence);
  return { entries, cursor: [...seen].map(([key, sequence]) => `${key}${sequence}`).join('.') };
}

const streamKey = (attempt: number, source: LogSource): string => `${attempt}${source.charAt(0)}`;

function parseCursor(cursor: string): Map<string, number> {
  if (!CURSOR.test(cursor)) {
    throw new WormholeError(
      'PAYLOAD_INVALID',
      `${JSON.stringify(cursor.slice(0, 100))} is not a cursor of the log: use the one that came with a page`,
    );
  }
  const positions = cursor.matchAll(/(\d+[rep])(\d+)/g);
  return new Map([...positions].map(([, key = '', sequence]) => [key, Number(sequence)]));
}

/** Merges the streams by time. A clock that went back does not take lines of its source out of their sequence. */
function inOrder(entries: readonly LogEntry[]): LogEntry[] {
  const times = new Map<string, number>();
  return entries
    .toSorted((a, b) => a.sequence - b.sequence)
    .map((entry) => {
      const key = streamKey(entry.attempt, entry.source);
      const time = Math.max(entry.timestamp.getTime(), times.get(key) ?? 0);
      times.set(key, time);
      return { entry, time };
    })
    .sort(
      (a, b) =>
        a.entry.attempt - b.entry.attempt ||
        a.time - b.time ||
        LOG_SOURCES.indexOf(a.entry.source) - LOG_SOURCES.indexOf(b.entry.source) ||
        a.entry.sequence - b.entry.sequence,
    )
    .map(({ entry }) => entry);
}
