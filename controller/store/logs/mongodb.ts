import { MongoBulkWriteError, MongoClient, MongoServerError, type Collection } from 'mongodb';
import { messageOf, WormholeError } from '../../errors.ts';
import type { Json } from '../../model/json.ts';
import { readPage, type LogStream, type StreamReader } from './pages.ts';
import type { LogEntry, LogPage, LogQuery, LogStore } from './types.ts';

export interface MongoLogStoreOptions {
  /** `mongodb://` or `mongodb+srv://`, with the name of the database. */
  readonly url: string;
  /** After so many days the server removes a line. Who leaves it out leaves the indexes as they are. */
  readonly retentionDays?: number;
  /** Told in a line when the server cannot do what it should. */
  readonly log: (message: string) => void;
}

/**
 * A line as the collection holds it. `fields` is JSON text, because its keys come from runs: BSON gives some keys a
 * meaning (`$ref`, `_bsontype`), and older servers refuse others.
 */
type LogDocument = Omit<LogEntry, 'fields'> & { readonly _id: string; readonly fields: string | null };

const COLLECTION = 'execution_logs';
const INDEXES: Readonly<Record<string, Readonly<Record<string, 1>>>> = {
  // Also in the order in which a run's log is read.
  tenant_run: { tenantId: 1, runId: 1, attempt: 1, source: 1, sequence: 1 },
  tenant_run_step: { tenantId: 1, runId: 1, stepKey: 1 },
  tenant_level: { tenantId: 1, level: 1, timestamp: 1 },
};
/** How long an operation may take before it fails: reports of runs wait for it. */
const TIMEOUT_MS = 5000;
const SECONDS_PER_DAY = 86_400;

/** https://www.mongodb.com/docs/manual/reference/error-codes/ */
const ERROR = {
  indexOptionsConflict: 85,
  commandNotSupported: 115,
  notImplemented: 238,
  duplicateKey: 11_000,
};

/** Logs in MongoDB, collection `execution_logs`. */
export class MongoLogStore implements LogStore, StreamReader {
  readonly #client: MongoClient;
  readonly #lines: Collection<LogDocument>;

  private constructor(client: MongoClient) {
    this.#client = client;
    this.#lines = client.db().collection(COLLECTION);
  }

  /**
   * Connects, and makes the indexes if it is told how long lines are kept.
   * @throws {WormholeError} `DATABASE_UNAVAILABLE` when the server does not answer or refuses.
   */
  static async open(options: MongoLogStoreOptions): Promise<MongoLogStore> {
    const client = new MongoClient(options.url, {
      serverSelectionTimeoutMS: TIMEOUT_MS,
      connectTimeoutMS: TIMEOUT_MS,
      socketTimeoutMS: TIMEOUT_MS,
    });
    const store = new MongoLogStore(client);
    try {
      if (options.retentionDays === undefined) await client.db().command({ ping: 1 });
      else await store.#ensureIndexes(options.retentionDays, options.log);
    } catch (error) {
      await client.close();
      const hosts = client.options.hosts.map(String).join(', ');
      throw new WormholeError(
        'DATABASE_UNAVAILABLE',
        `the MongoDB for the logs (${hosts}) cannot be used: ${messageOf(error)}; check MONGODB_URL`,
        { cause: error },
      );
    }
    return store;
  }

  async append(batch: readonly LogEntry[]): Promise<void> {
    if (batch.length === 0) return;
    try {
      await this.#lines.insertMany(batch.map(documentOf), { ordered: false });
    } catch (error) {
      if (!isOnlyDuplicates(error)) throw error;
    }
  }

  read(query: LogQuery): Promise<LogPage> {
    return readPage(this, query);
  }

  async lastAttempt({ tenantId, runId }: LogQuery): Promise<number> {
    const last = await this.#lines.findOne(
      { tenantId, runId },
      { sort: { attempt: -1 }, projection: { attempt: 1 } },
    );
    return last?.attempt ?? 0;
  }

  async linesOf(query: LogQuery, streams: readonly LogStream[], limit: number): Promise<LogEntry[]> {
    const { tenantId, runId } = query;
    const found = await Promise.all(
      streams.map(({ attempt, source, after }) =>
        this.#lines
          .find({ tenantId, runId, attempt, source, sequence: { $gt: after } })
          .sort({ sequence: 1 })
          .limit(limit)
          .toArray(),
      ),
    );
    return found.flat().map(entryOf);
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  async #ensureIndexes(retentionDays: number, log: (message: string) => void): Promise<void> {
    // One by one: FerretDB 1.24 breaks when one command names several that exist.
    for (const [name, key] of Object.entries(INDEXES))
      await this.#lines.createIndex(key, { name }, undefined);
    const name = 'retention';
    const expireAfterSeconds = retentionDays * SECONDS_PER_DAY;
    try {
      await this.#lines.createIndex({ timestamp: 1 }, { name, expireAfterSeconds }, undefined);
    } catch (error) {
      if (!(error instanceof MongoServerError)) throw error;
      switch (error.code) {
        case ERROR.indexOptionsConflict:
          // There is one with another number of days.
          await this.#client.db().command({ collMod: COLLECTION, index: { name, expireAfterSeconds } });
          break;
        case ERROR.commandNotSupported:
        case ERROR.notImplemented:
          log(
            `the MongoDB server has no TTL indexes (${error.message}): logs older than ${retentionDays} days stay`,
          );
          break;
        default:
          throw error;
      }
    }
  }
}

const documentOf = (entry: LogEntry): LogDocument => ({
  ...entry,
  _id: `${entry.runId}/${entry.attempt}/${entry.source}/${entry.sequence}`,
  fields: entry.fields === null ? null : JSON.stringify(entry.fields),
});

const entryOf = (line: LogDocument): LogEntry => ({
  timestamp: line.timestamp,
  tenantId: line.tenantId,
  runId: line.runId,
  attempt: line.attempt,
  source: line.source,
  sequence: line.sequence,
  stepKey: line.stepKey,
  level: line.level,
  message: line.message,
  fields: line.fields === null ? null : (JSON.parse(line.fields) as Json),
});

/** Whether all that went wrong with a bulk write is that some of its lines were there already. */
function isOnlyDuplicates(error: unknown): boolean {
  if (!(error instanceof MongoBulkWriteError)) return false;
  const errors = [error.writeErrors].flat();
  return (
    errors.length > 0 &&
    errors.every((writeError) => writeError.code === ERROR.duplicateKey) &&
    error.result.getWriteConcernError() === undefined
  );
}
