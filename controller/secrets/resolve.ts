import type { RunCredentials, StoredCredentials } from '../model/connection.ts';
import type { EgressPolicy } from '../model/tenant.ts';
import type { AccessTokenSource } from './oauth2.ts';
import type { ConnectionRef } from './sealed.ts';

/**
 * @returns the credentials as a run gets them: the stored ones, but an access token for OAuth2.
 * @throws {WormholeError} CREDENTIALS_UNAVAILABLE if there is no access token to be had.
 */
export async function resolveCredentials(
  stored: StoredCredentials,
  context: { readonly ref: ConnectionRef; readonly policy: EgressPolicy; readonly tokens: AccessTokenSource },
): Promise<RunCredentials> {
  if (stored.kind !== 'OAUTH2') return stored;
  return { kind: 'OAUTH2', accessToken: await context.tokens.get(context.ref, stored, context.policy) };
}
