import type pg from 'pg';
import { messageOf } from '../../errors.ts';
import type { Json } from '../../model/json.ts';
import type { RunId, TenantId } from '../../model/ids.ts';
import { readPage, type LogStream, type StreamReader } from './pages.ts';
import type { LogEntry, LogLevel, LogPage, LogQuery, LogSource, LogStore } from './types.ts';

/** A line as the table `execution_logs` holds it. */
interface LogRow {
  readonly timestamp: Date;
  readonly tenant_id: TenantId;
  readonly run_id: RunId;
  readonly attempt: number;
  readonly source: LogSource;
  /** `bigint`, which `pg` gives as text. */
  readonly sequence: string;
  readonly step_key: string | null;
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: Json;
}

const APPEND = `
  INSERT INTO execution_logs
    (timestamp, tenant_id, run_id, attempt, source, sequence, step_key, level, message, fields)
  SELECT timestamp, "tenantId", "runId", attempt, source, sequence, "stepKey", level, message, fields
  FROM jsonb_to_recordset($1) AS line (
    timestamp timestamptz, "tenantId" text, "runId" uuid, attempt integer, source text, sequence bigint,
    "stepKey" text, level text, message text, fields jsonb)
  ON CONFLICT (run_id, attempt, source, sequence) DO NOTHING`;

const EXPIRE = `
  DELETE FROM execution_logs WHERE id IN (SELECT id FROM execution_logs WHERE timestamp < $1 LIMIT $2)`;
const EXPIRY_BATCH = 10_000;
const EXPIRY_INTERVAL_MS = 60 * 60 * 1000;
const DAY_MS = 24 * 60 * 60 * 1000;

const LAST_ATTEMPT = 'SELECT coalesce(max(attempt), 0) AS last FROM execution_logs WHERE run_id = $1';

const LINES = `
  SELECT line.*
  FROM jsonb_to_recordset($3) AS stream (attempt integer, source text, after bigint)
  CROSS JOIN LATERAL (
    SELECT timestamp, tenant_id, run_id, attempt, source, sequence, step_key, level, message, fields
    FROM execution_logs
    WHERE run_id = $1 AND tenant_id = $2
      AND attempt = stream.attempt AND source = stream.source AND sequence > stream.after
    ORDER BY sequence
    LIMIT $4
  ) AS line`;

/** Logs in the platform's own PostgreSQL. */
export class PostgresLogStore implements LogStore, StreamReader {
  readonly #pool: pg.Pool;
  readonly #expiry: NodeJS.Timeout | undefined;

  /**
   * @param pool stays the caller's: `close` leaves it open.
   * @param retention makes this store drop older lines, every hour until `close`, as a TTL index does in MongoDB.
   */
  constructor(pool: pg.Pool, retention?: { readonly days: number; readonly log: (message: string) => void }) {
    this.#pool = pool;
    if (retention === undefined) return;
    this.#expiry = setInterval(() => {
      this.expire(new Date(Date.now() - retention.days * DAY_MS)).catch((error: unknown) => {
        retention.log(`could not drop old log lines: ${messageOf(error)}`);
      });
    }, EXPIRY_INTERVAL_MS);
    this.#expiry.unref();
  }

  /** Drops lines that were written before that time, a bounded number at once. */
  async expire(before: Date): Promise<void> {
    for (let dropped = EXPIRY_BATCH; dropped === EXPIRY_BATCH;) {
      dropped = (await this.#pool.query(EXPIRE, [before, EXPIRY_BATCH])).rowCount ?? 0;
    }
  }

  async append(batch: readonly LogEntry[]): Promise<void> {
    if (batch.length > 0) await this.#pool.query(APPEND, [JSON.stringify(batch)]);
  }

  read(query: LogQuery): Promise<LogPage> {
    return readPage(this, query);
  }

  async lastAttempt({ runId }: LogQuery): Promise<number> {
    const { rows } = await this.#pool.query<{ last: number }>(LAST_ATTEMPT, [runId]);
    return rows[0]?.last ?? 0;
  }

  async linesOf(query: LogQuery, streams: readonly LogStream[], limit: number): Promise<LogEntry[]> {
    const values = [query.runId, query.tenantId, JSON.stringify(streams), limit];
    return (await this.#pool.query<LogRow>(LINES, values)).rows.map(entryOf);
  }

  close(): Promise<void> {
    clearInterval(this.#expiry);
    return Promise.resolve();
  }
}

const entryOf = (row: LogRow): LogEntry => ({
  timestamp: row.timestamp,
  tenantId: row.tenant_id,
  runId: row.run_id,
  attempt: row.attempt,
  source: row.source,
  sequence: Number(row.sequence),
  stepKey: row.step_key,
  level: row.level,
  message: row.message,
  fields: row.fields,
});
