import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runMigrations } from 'bullmq';
import type pg from 'pg';
import { transaction, withClient, type Queryable } from './database.ts';

const MIGRATIONS = join(import.meta.dirname, 'migrations');
/** Serialises migrations of processes that start at the same time ("WORM"). */
const ADVISORY_LOCK = 0x574f524d;

/**
 * Brings the database to the newest schema: our numbered files, forward only, each once, and BullMQ's own schema
 * (`bullmq`), so that either queue backend can be chosen later. Safe to run from many processes at once.
 */
export async function migrate(pool: pg.Pool): Promise<void> {
  const files = await migrations();
  await transaction(pool, async (client) => {
    await client.query('SELECT pg_advisory_xact_lock($1)', [ADVISORY_LOCK]);
    await client.query(
      'CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())',
    );
    const applied = await client.query<{ name: string }>('SELECT name FROM migrations');
    const done = new Set(applied.rows.map((row) => row.name));
    for (const name of files.filter((file) => !done.has(file))) {
      await client.query(await readFile(join(MIGRATIONS, name), 'utf8'));
      await client.query('INSERT INTO migrations (name) VALUES ($1)', [name]);
    }
  });
  await withClient(pool, (client) => runMigrations(client, 'bullmq'));
}

/** @returns whether the database has the schema that this program needs; it may be newer. */
export async function isMigrated(db: Queryable): Promise<boolean> {
  const { rows: tables } = await db.query("SELECT FROM pg_tables WHERE tablename = 'migrations'");
  if (tables.length === 0) return false;
  const { rows } = await db.query<{ name: string }>('SELECT name FROM migrations');
  const applied = new Set(rows.map(({ name }) => name));
  return (await migrations()).every((name) => applied.has(name));
}

async function migrations(): Promise<string[]> {
  return (await readdir(MIGRATIONS)).filter((name) => name.endsWith('.sql')).sort();
}
