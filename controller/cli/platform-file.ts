import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { WormholeError } from '../errors.ts';
import { commandOf } from '../setup/process-command.ts';

const platformFileSchema = z.object({
  pid: z.int().positive(),
  /** The program that `pid` ran: process ids are used again. */
  program: z.string(),
  instance: z.string(),
  startedAt: z.iso.datetime(),
  /** The embedded PostgreSQL; null: the one in DATABASE_URL, which may hold a password and so is not written. */
  databaseUrl: z.string().nullable(),
  /** Variables that `up` was started with and every other command needs too. */
  needs: z.array(z.enum(['DATABASE_URL', 'REDIS_URL', 'MONGODB_URL', 'WORMHOLE_ENCRYPTION_KEYS'])),
});

/** How other commands find the platform that `wormhole up` runs. Holds no secret. */
export type PlatformFile = z.infer<typeof platformFileSchema>;

const pathIn = (stateDir: string): string => join(stateDir, 'platform.json');

/** Writes the file, for this process, as readable by its owner alone. */
export async function writePlatformFile(
  stateDir: string,
  facts: Omit<PlatformFile, 'pid' | 'program' | 'startedAt'>,
): Promise<void> {
  const content: PlatformFile = {
    ...facts,
    pid: process.pid,
    program: (await commandOf(process.pid)) ?? '',
    startedAt: new Date().toISOString(),
  };
  mkdirSync(stateDir, { recursive: true });
  const path = pathIn(stateDir);
  const partial = `${path}.${process.pid}`;
  writeFileSync(partial, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 });
  renameSync(partial, path);
}

/** Removes the file. */
export const removePlatformFile = (stateDir: string): void => rmSync(pathIn(stateDir), { force: true });

/** @returns the file of a platform that runs, or undefined when none does, whatever an earlier one left. */
export async function readPlatformFile(stateDir: string): Promise<PlatformFile | undefined> {
  let text: string;
  try {
    text = readFileSync(pathIn(stateDir), 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new WormholeError(
      'PLATFORM_NOT_RUNNING',
      `${pathIn(stateDir)} cannot be read (${code ?? 'unknown error'}): run this as the user who started the platform`,
      { cause: error },
    );
  }
  const parsed = platformFileSchema.safeParse(parseJson(text));
  if (!parsed.success) return undefined;
  const program = await commandOf(parsed.data.pid);
  return program === parsed.data.program ? parsed.data : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
