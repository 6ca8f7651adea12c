import { setTimeout as delay } from 'node:timers/promises';
import type pg from 'pg';
import type { Logger } from 'pino';
import { readLiveSettings, type LiveSettings, type PlatformConfig } from './config.ts';
import { messageOf } from './errors.ts';
import { transaction } from './store/database.ts';
import { setPlatformLimits, upsertTenant } from './store/tenants.ts';

/** A ConfigMap takes a minute to reach a pod's file anyway. */
const LOOK_MS = 2_000;

/** Records what is declared, all or nothing; controllers are told of it by PostgreSQL. */
async function applySettings(pool: pg.Pool, settings: LiveSettings): Promise<void> {
  await transaction(pool, async (db) => {
    await setPlatformLimits(db, settings);
    for (const tenant of settings.tenants) await upsertTenant(db, tenant);
  });
}

/**
 * Applies what is declared, now and whenever the declared file's settings change, until `signal` aborts. A file that is wrong changes
 * nothing, and is told once. What an operator changed in the database otherwise stays until the file changes.
 * @returns what goes on following, once the first settings are in force.
 */
export async function followSettings(
  pool: pg.Pool,
  config: PlatformConfig,
  { log, signal }: { readonly log: Logger; readonly signal: AbortSignal },
): Promise<{ readonly followed: Promise<void> }> {
  const { declaredFile } = config;
  const read = (): LiveSettings => (declaredFile === null ? config : readLiveSettings(declaredFile));
  let told = '';
  const attempt = async (inForce: string): Promise<string> => {
    try {
      const wanted = read();
      if (textOf(wanted) === inForce) return inForce;
      await applySettings(pool, wanted);
      if (inForce !== '')
        log.info({ tenants: wanted.tenants.length }, 'the declared file changed; it is in force');
      told = '';
      return textOf(wanted);
    } catch (error) {
      const message = messageOf(error);
      if (message !== told)
        log.error({ error: message }, 'the declared file is not applied; the settings before stay');
      told = message;
      return inForce;
    }
  };
  // It may have changed while this controller stood by.
  let inForce = await attempt('');
  if (inForce === '') {
    await applySettings(pool, config);
    inForce = textOf(config);
  }
  const follow = async (): Promise<void> => {
    while (await pause(signal)) inForce = await attempt(inForce);
  };
  return { followed: declaredFile === null ? Promise.resolve() : follow() };
}

/** @returns false when it was ended. */
const pause = (signal: AbortSignal): Promise<boolean> =>
  delay(LOOK_MS, true, { signal, ref: false }).catch(() => false);

const textOf = ({ tenants, maxConcurrent, startRate }: LiveSettings): string =>
  JSON.stringify({ tenants, maxConcurrent, startRate });
