import fc from 'fast-check';
import { MongoClient } from 'mongodb';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newRunId, tenantIdSchema, type RunId } from '../../controller/model/ids.ts';
import { MongoLogStore } from '../../controller/store/logs/mongodb.ts';
import { openLogStore } from '../../controller/store/logs/open.ts';
import { PostgresLogStore } from '../../controller/store/logs/postgres.ts';
import { LOG_LEVELS, LOG_SOURCES, type LogEntry, type LogStore } from '../../controller/store/logs/types.ts';
import { cloneDatabase } from '../support/database.ts';
import { describeWith, mongodb } from '../support/requires.ts';

const acme = tenantIdSchema.parse('acme');
const globex = tenantIdSchema.parse('globex');

function line(runId: RunId, sequence: number, changes: Partial<LogEntry> = {}): LogEntry {
  return {
    timestamp: new Date(Date.UTC(2026, 0, 1) + sequence * 1000),
    tenantId: acme,
    runId,
    attempt: 1,
    source: 'runner',
    sequence,
    stepKey: 'list',
    level: 'INFO',
    message: `line ${sequence}`,
    fields: null,
    ...changes,
  };
}

/** Reads to the end, page by page. */
async function readAll(store: LogStore, runId: RunId, limit: number): Promise<LogEntry[]> {
  const all: LogEntry[] = [];
  let after: string | undefined;
  for (;;) {
    const page = await store.read({ tenantId: acme, runId, limit, ...(after !== undefined && { after }) });
    if (page.entries.length === 0) return all;
    expect(page.entries.length).toBeLessThanOrEqual(limit);
    all.push(...page.entries);
    after = page.cursor;
  }
}

const nameOf = ({ attempt, source, sequence }: LogEntry): string => `${attempt}/${source}/${sequence}`;

/** Lines of one run as its sources could write them: unique by name, in any order, with clocks that jump. */
const logOf = (runId: RunId): fc.Arbitrary<LogEntry[]> =>
  fc.uniqueArray(
    fc
      .record({
        attempt: fc.integer({ min: 1, max: 3 }),
        source: fc.constantFrom(...LOG_SOURCES),
        sequence: fc.integer({ min: 1, max: 30 }),
        timestamp: fc.date({ min: new Date('2026-01-01'), max: new Date('2026-01-02'), noInvalidDate: true }),
        stepKey: fc.option(fc.constantFrom('list', 'create')),
        level: fc.constantFrom(...LOG_LEVELS),
        message: fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\0', '')),
      })
      .map((changes) => line(runId, changes.sequence, changes)),
    { selector: nameOf, maxLength: 40 },
  );

/** What every log store promises. */
function logStoreSuite(open: () => Promise<LogStore>): void {
  let store: LogStore;
  beforeAll(async () => {
    store = await open();
  });
  afterAll(() => store.close());

  test('gives back what was appended', async () => {
    const runId = newRunId();
    const entries = [
      line(runId, 1, { fields: { status: 200, nested: { list: [1, 'two', null, 3.5] }, empty: {} } }),
      line(runId, 2, { stepKey: null, level: 'ERROR', message: 'quotes " \' $ { } \\ \n and 漢字 🚀' }),
      line(runId, 3, { fields: 'text' }),
    ];
    await store.append(entries);
    expect((await store.read({ tenantId: acme, runId })).entries).toEqual(entries);
  });

  test('keeps fields whose keys mean something to a database', async () => {
    const runId = newRunId();
    const fields = JSON.parse(
      '{"$set": 1, "a.b": 2, "$ref": "x", "$id": 1, "_bsontype": "ObjectId", "__proto__": {"polluted": true}, "": 0}',
    ) as LogEntry['fields'];
    await store.append([line(runId, 1, { fields })]);
    const { entries } = await store.read({ tenantId: acme, runId });
    expect(JSON.parse(JSON.stringify(entries[0]?.fields))).toEqual(fields);
    expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false);
  });

  test('takes an empty batch, and has no lines of an unknown run', async () => {
    await store.append([]);
    expect(await store.read({ tenantId: acme, runId: newRunId() })).toEqual({ entries: [], cursor: '' });
  });

  test("never shows a tenant another tenant's lines", async () => {
    const runId = newRunId();
    await store.append([line(runId, 1)]);
    expect((await store.read({ tenantId: globex, runId })).entries).toEqual([]);
  });

  test('keeps the first version of a line', async () => {
    const runId = newRunId();
    await store.append([line(runId, 1, { message: 'first' })]);
    await store.append([line(runId, 1, { message: 'second' }), line(runId, 2)]);
    const { entries } = await store.read({ tenantId: acme, runId });
    expect(entries.map((entry) => entry.message)).toEqual(['first', 'line 2']);
  });

  test('orders by attempt, then by time, whatever was appended first', async () => {
    const runId = newRunId();
    await store.append([line(runId, 1, { attempt: 2 }), line(runId, 4), line(runId, 2)]);
    await store.append([line(runId, 1, { source: 'egress', timestamp: line(runId, 3).timestamp })]);
    const { entries } = await store.read({ tenantId: acme, runId });
    expect(entries.map(nameOf)).toEqual(['1/runner/2', '1/egress/1', '1/runner/4', '2/runner/1']);
  });

  test('finds a line that arrives late, behind later lines of another source', async () => {
    const runId = newRunId();
    await store.append([line(runId, 1, { source: 'egress', timestamp: new Date('2026-06-01') })]);
    const first = await store.read({ tenantId: acme, runId });
    expect((await store.read({ tenantId: acme, runId, after: first.cursor })).entries).toEqual([]);
    await store.append([line(runId, 1)]);
    const second = await store.read({ tenantId: acme, runId, after: first.cursor });
    expect(second.entries.map(nameOf)).toEqual(['1/runner/1']);
  });

  test.each(['x', '1', '1r', '1x5', '1r5.', '1r5..1e3', `1r${'9'.repeat(40)}`, '{"$gt":""}'])(
    'refuses the cursor %s',
    async (after) => {
      const read = store.read({ tenantId: acme, runId: newRunId(), after });
      await expect(read).rejects.toMatchObject({ code: 'PAYLOAD_INVALID' });
    },
  );

  test('a repeated batch, whole or in part, changes nothing', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constant(null).chain(() => logOf(newRunId())),
        fc.nat(),
        async (log, cut) => {
          const runId = log[0]?.runId ?? newRunId();
          await store.append(log.slice(0, cut % (log.length + 1)));
          await store.append(log);
          const once = await readAll(store, runId, 1000);
          await store.append(log);
          expect(await readAll(store, runId, 1000)).toEqual(once);
          expect(once.map(nameOf).toSorted()).toEqual(log.map(nameOf).toSorted());
        },
      ),
      { numRuns: 10 },
    );
  });

  test('pages of any size hold every line once, each source in its sequence', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constant(null).chain(() => logOf(newRunId())),
        fc.integer({ min: 1, max: 15 }),
        async (log, limit) => {
          const runId = log[0]?.runId ?? newRunId();
          await store.append(log);
          const read = await readAll(store, runId, limit);
          expect(read.map(nameOf).toSorted()).toEqual(log.map(nameOf).toSorted());
          for (const stream of Map.groupBy(read, (entry) => `${entry.attempt}/${entry.source}`).values()) {
            const sequences = stream.map((entry) => entry.sequence);
            expect(sequences).toEqual(sequences.toSorted((a, b) => a - b));
          }
        },
      ),
      { numRuns: 10 },
    );
  });

  test('takes a thousand lines at once', async () => {
    const runId = newRunId();
    const log = Array.from({ length: 1000 }, (_, index) =>
      line(runId, index + 1, { message: 'x'.repeat(2000) }),
    );
    await store.append(log);
    expect((await readAll(store, runId, 300)).map((entry) => entry.sequence)).toEqual(
      log.map((l) => l.sequence),
    );
  });
}

describe('logs in PostgreSQL', async () => {
  const database = await cloneDatabase();
  logStoreSuite(() => openLogStore({ pool: database.pool, mongodbUrl: undefined }));

  test('is what opens without a MongoDB', async () => {
    const store = await openLogStore({ pool: database.pool, mongodbUrl: undefined });
    expect(store).toBeInstanceOf(PostgresLogStore);
    await store.close();
  });
});

describeWith('logs in MongoDB', mongodb, (url) => {
  const messages: string[] = [];
  const open = (retentionDays?: number): Promise<MongoLogStore> =>
    MongoLogStore.open({
      url,
      ...(retentionDays !== undefined && { retentionDays }),
      log: (message) => messages.push(message),
    });
  logStoreSuite(() => open(30));

  /** Runs work on the collection with a plain driver, past the store. */
  async function indexes(): Promise<Record<string, { key: unknown; expireAfterSeconds?: number }>> {
    const client = new MongoClient(url);
    try {
      const found = await client.db().collection('execution_logs').indexes();
      return Object.fromEntries(found.map((index) => [index.name ?? '', index]));
    } finally {
      await client.close();
    }
  }

  test('has the indexes that readers need', async () => {
    const found = await indexes();
    const keysOf = (name: string): string[] => Object.keys(found[name]?.key ?? {});
    expect(keysOf('tenant_run').slice(0, 2)).toEqual(['tenantId', 'runId']);
    expect(keysOf('tenant_run_step')).toEqual(['tenantId', 'runId', 'stepKey']);
    expect(keysOf('tenant_level').slice(0, 2)).toEqual(['tenantId', 'level']);
  });

  test('lets the server remove old lines, or says that it cannot', async () => {
    const retention = (await indexes())['retention'];
    if (retention === undefined) {
      expect(messages).toEqual([expect.stringContaining('has no TTL indexes')]);
    } else {
      expect(retention.expireAfterSeconds).toBe(30 * 86_400);
      await (await open(7)).close();
      expect((await indexes())['retention']?.expireAfterSeconds).toBe(7 * 86_400);
    }
  });

  test('two stores write the same batch at the same time', async () => {
    const [one, two] = await Promise.all([open(30), open()]);
    const runId = newRunId();
    const log = Array.from({ length: 200 }, (_, index) => line(runId, index + 1));
    await Promise.all([one.append(log), two.append(log)]);
    expect(await readAll(one, runId, 1000)).toEqual(log);
    await Promise.all([one.close(), two.close()]);
  });
});

test('a MongoDB that does not answer is named, without its password', async () => {
  const open = openLogStore({
    pool: undefined as never,
    mongodbUrl: 'mongodb://user:hunter2@127.0.0.1:9/wormhole',
    retentionDays: 30,
  });
  const error = await open.then(
    () => undefined,
    (thrown: unknown) => thrown as Error,
  );
  expect(error).toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
  expect(error?.message).toContain('127.0.0.1:9');
  expect(error?.message).not.toContain('hunter2');
});

describe('retention in PostgreSQL', async () => {
  const { pool } = await cloneDatabase();
  test('PostgreSQL drops lines that are older than asked, and keeps the others', async () => {
    const store = new PostgresLogStore(pool);
    const runId = newRunId();
    await store.append([1, 2, 3].map((sequence) => line(runId, sequence)));
    await store.expire(line(runId, 2).timestamp);
    expect((await readAll(store, runId, 10)).map(({ sequence }) => sequence)).toEqual([2, 3]);
  });
});
