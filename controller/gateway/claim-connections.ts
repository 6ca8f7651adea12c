import type pg from 'pg';
import type { Logger } from 'pino';
import { messageOf, WormholeError } from '../errors.ts';
import type { RunCredentials, StoredCredentials } from '../model/connection.ts';
import type { TenantId } from '../model/ids.ts';
import type { KeyRing } from '../secrets/cipher.ts';
import { openCredentials, type ConnectionRef } from '../secrets/sealed.ts';
import { findConnections } from '../store/connections.ts';
import type { ClaimedConnection } from './messages.ts';

export interface ClaimConnectionsOptions {
  readonly pool: pg.Pool;
  readonly keys: KeyRing;
  /** Makes what is stored usable: exchanges OAuth2 credentials for a short-lived access token. */
  readonly resolve: (ref: ConnectionRef, stored: StoredCredentials) => Promise<RunCredentials>;
  readonly log: Logger;
}

/**
 * Opens the connections that a claim hands over. One that does not exist or cannot be made usable is `UNAVAILABLE`
 * with the reason, which names it: it fails the steps that use it, not the claim.
 */
export function claimConnections(
  options: ClaimConnectionsOptions,
): (tenantId: TenantId, keys: readonly string[]) => Promise<Record<string, ClaimedConnection>> {
  const open = async (ref: ConnectionRef, sealed: Buffer): Promise<ClaimedConnection> => {
    try {
      return await options.resolve(ref, openCredentials(options.keys, ref, sealed));
    } catch (error) {
      options.log.warn({ ...ref, error: messageOf(error) }, 'a connection is unavailable');
      return { kind: 'UNAVAILABLE', message: reasonOf(ref, error) };
    }
  };
  return async (tenantId, keys) => {
    const stored = new Map(
      (await findConnections(options.pool, tenantId, keys)).map(({ key, sealed }) => [key, sealed]),
    );
    const opened = keys.map(async (key): Promise<[string, ClaimedConnection]> => {
      const sealed = stored.get(key);
      if (sealed !== undefined) return [key, await open({ tenantId, key }, sealed)];
      return [key, { kind: 'UNAVAILABLE', message: `tenant "${tenantId}" has no connection "${key}"` }];
    });
    return Object.fromEntries(await Promise.all(opened));
  };
}

/** @returns why the connection is unavailable, in words that name it once. */
function reasonOf({ tenantId, key }: ConnectionRef, error: unknown): string {
  const name = `connection "${key}" of tenant "${tenantId}"`;
  if (!(error instanceof WormholeError)) return `${name} cannot be opened`;
  return error.message.startsWith(name) ? error.message : `${name}: ${error.message}`;
}
