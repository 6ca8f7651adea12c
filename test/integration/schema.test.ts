import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { migrate } from '../../controller/store/migrate.ts';
import { cloneDatabase } from '../support/database.ts';

const MIGRATIONS = join(import.meta.dirname, '../../controller/store/migrations');
const database = await cloneDatabase();

/** One line for each thing in our schema, in an order that does not depend on when it was made. */
const SCHEMA = `
  SELECT line FROM (
    SELECT format('table %s: %s %s%s%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
        CASE WHEN a.attnotnull THEN ' not null' ELSE '' END,
        CASE WHEN a.attidentity <> '' THEN ' identity' ELSE coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '') END)
      FROM pg_attribute a
      JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v', 'm')
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT format('constraint %s.%s: %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
      FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
    UNION ALL
    SELECT format('index %s: %s', indexname, indexdef) FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT format('trigger %s.%s: %s', tgrelid::regclass, tgname, pg_get_triggerdef(t.oid))
      FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
      WHERE NOT tgisinternal AND c.relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT format('function %s: %s', oid::regprocedure, pg_get_functiondef(oid))
      FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT format('sequence %s: %s', sequencename, data_type) FROM pg_sequences WHERE schemaname = 'public'
    UNION ALL
    SELECT format('type %s', typname) FROM pg_type
      WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')
  ) AS schema (line)
  ORDER BY line COLLATE "C"`;

async function schema(): Promise<string[]> {
  const { rows } = await database.pool.query<{ line: string }>(SCHEMA);
  return rows.map(({ line }) => line);
}

test('the schema is the one that was reviewed', async () => {
  expect((await schema()).join('\n')).toMatchSnapshot();
});

test('the migrations are those that were reviewed: a released one is never edited, a change is a new file', async () => {
  const files = (await readdir(MIGRATIONS)).toSorted();
  expect(files.every((file) => /^\d{3}_[a-z0-9_]+\.sql$/.test(file))).toBe(true);
  const digests = await Promise.all(
    files.map(async (file) => {
      const text = await readFile(join(MIGRATIONS, file));
      return `${file} ${createHash('sha256').update(text).digest('hex')}`;
    }),
  );
  expect(digests.join('\n')).toMatchSnapshot();
});

test('migrating again changes nothing', async () => {
  const before = await schema();
  await Promise.all([migrate(database.pool), migrate(database.pool)]);
  expect(await schema()).toEqual(before);
});
