import { storedCredentialsSchema, type StoredCredentials } from '../model/connection.ts';
import type { TenantId } from '../model/ids.ts';
import type { KeyRing } from './cipher.ts';

/** Whose credentials they are: a ciphertext that is copied to another tenant or connection does not open there. */
export interface ConnectionRef {
  readonly tenantId: TenantId;
  readonly key: string;
}

const aadOf = ({ tenantId, key }: ConnectionRef): string => JSON.stringify(['connection', tenantId, key]);

/** @returns the connection's credentials as they are stored. */
export const sealCredentials = (keys: KeyRing, ref: ConnectionRef, credentials: StoredCredentials): Buffer =>
  keys.seal(JSON.stringify(credentials), aadOf(ref));

/** @throws {WormholeError} ENCRYPTION_KEY_INVALID if they were sealed with another key or for another connection. */
export const openCredentials = (keys: KeyRing, ref: ConnectionRef, sealed: Buffer): StoredCredentials =>
  storedCredentialsSchema.parse(JSON.parse(keys.open(sealed, aadOf(ref)).toString('utf8')));
