import { createHash } from 'node:crypto';
import { EgressRefusal } from '../egress/reasons.ts';
import { WormholeError } from '../errors.ts';
import type { StoredCredentials } from '../model/connection.ts';
import type { EgressPolicy } from '../model/tenant.ts';
import { parseTokenResponse, standardErrorCode, type TokenResponse } from './access-token.ts';
import type { ConnectionRef } from './sealed.ts';
import type { TokenEndpoint } from './token-endpoint.ts';

export type OAuth2Credentials = Extract<StoredCredentials, { kind: 'OAUTH2' }>;

/** A connection's tokens: where they came from and how long they can be used again. */
interface Session {
  /** Fingerprints of the stored credentials for which it stands: those it was made from and what they became. */
  readonly origins: readonly string[];
  readonly accessToken: string;
  /** Milliseconds since the epoch. */
  readonly reuseUntil: number;
  readonly refreshToken: string | undefined;
  /** Whether the refresh token has yet to be stored. */
  unsaved: boolean;
}

export interface AccessTokenSourceOptions {
  readonly endpoint: TokenEndpoint;
  /**
   * Stores a refresh token that replaces the connection's. Awaited before the access token is used; when it fails, the
   * token is kept and stored at the next attempt, because the old one is likely spent.
   */
  readonly onRotated: (ref: ConnectionRef, refreshToken: string) => Promise<void>;
  /** Milliseconds since the epoch. @default Date.now */
  readonly clock?: () => number;
}

/** A run that gets a token should have this long to use it, though at most half of the token's life. */
const REUSE_MARGIN_MS = 5 * 60 * 1000;
const MAX_SESSIONS = 10_000;
const MAX_ORIGINS = 8;
const RETRY_AFTER_MS = 1000;

/**
 * Turns stored OAuth2 credentials into short-lived access tokens (RFC 6749 §4.4 and §6), so that no client secret and
 * no refresh token enters a container. Tokens are kept in memory until shortly before they expire; a connection has at
 * most one exchange under way, however many runs wait for it.
 */
export class AccessTokenSource {
  readonly #endpoint: TokenEndpoint;
  readonly #onRotated: AccessTokenSourceOptions['onRotated'];
  readonly #clock: () => number;
  readonly #sessions = new Map<string, Session>();
  readonly #flights = new Map<string, { readonly origin: string; readonly token: Promise<string> }>();

  constructor(options: AccessTokenSourceOptions) {
    this.#endpoint = options.endpoint;
    this.#onRotated = options.onRotated;
    this.#clock = options.clock ?? Date.now;
  }

  /**
   * @param policy the tenant's; it decides which internal services its token URLs may reach.
   * @returns an access token.
   * @throws {WormholeError} CREDENTIALS_UNAVAILABLE, with `retryAfterMs` if trying again may help. It shows neither
   *   secrets nor what the endpoint said, but for an error code of RFC 6749.
   */
  async get(ref: ConnectionRef, credentials: OAuth2Credentials, policy: EgressPolicy): Promise<string> {
    const name = JSON.stringify([ref.tenantId, ref.key]);
    const origin = fingerprintOf(credentials);
    for (let flight = this.#flights.get(name); flight !== undefined; flight = this.#flights.get(name)) {
      if (flight.origin === origin) return flight.token;
      await flight.token.catch(() => undefined);
    }
    const token = this.#take(name, ref, credentials, origin, policy).finally(() =>
      this.#flights.delete(name),
    );
    this.#flights.set(name, { origin, token });
    return token;
  }

  async #take(
    name: string,
    ref: ConnectionRef,
    credentials: OAuth2Credentials,
    origin: string,
    policy: EgressPolicy,
  ): Promise<string> {
    const known = this.#sessions.get(name);
    let session = known?.origins.includes(origin) === true ? known : undefined;
    if (session === undefined || session.reuseUntil <= this.#clock()) {
      const refreshToken = session?.refreshToken ?? credentials.refreshToken;
      const current = refreshToken === undefined ? credentials : { ...credentials, refreshToken };
      const response = await this.#exchange(ref, current, policy);
      session = this.#sessionOf(
        response,
        current,
        [...(session?.origins ?? []), origin],
        session?.unsaved ?? false,
      );
      this.#remember(name, session);
    }
    if (session.unsaved && session.refreshToken !== undefined) {
      await this.#save(ref, session.refreshToken);
      session.unsaved = false;
    }
    return session.accessToken;
  }

  async #exchange(
    ref: ConnectionRef,
    credentials: OAuth2Credentials,
    policy: EgressPolicy,
  ): Promise<TokenResponse> {
    const url = new URL(credentials.tokenUrl);
    const headers = {
      Accept: 'application/json',
      Authorization: basicAuthorization(credentials),
      'Content-Type': 'application/x-www-form-urlencoded',
    };
    const answer = await this.#endpoint
      .post({ tenantId: ref.tenantId, policy }, url, headers, formOf(credentials))
      .catch((error: unknown) => {
        if (error instanceof EgressRefusal) throw unavailable(ref, error.message, error.status >= 500);
        throw unavailable(ref, `its token endpoint ${url.host} did not answer`, true);
      });
    if (answer.status !== 200) {
      const code = standardErrorCode(answer.text);
      const said = `its token endpoint ${url.host} answered ${answer.status}${code === null ? '' : ` ${code}`}`;
      throw unavailable(ref, said, answer.status === 429 || answer.status >= 500);
    }
    const response = parseTokenResponse(answer.text);
    if (response === null)
      throw unavailable(ref, `its token endpoint ${url.host} gave no bearer token`, false);
    return response;
  }

  #sessionOf(
    response: TokenResponse,
    used: OAuth2Credentials,
    origins: string[],
    wasUnsaved: boolean,
  ): Session {
    const refreshToken = response.refreshToken ?? used.refreshToken;
    const isRotated = used.refreshToken !== undefined && refreshToken !== used.refreshToken;
    if (isRotated) origins.push(fingerprintOf({ ...used, refreshToken }));
    const lifeMs = response.expiresInMs ?? 0;
    return {
      origins: origins.slice(-MAX_ORIGINS),
      accessToken: response.accessToken,
      reuseUntil: this.#clock() + lifeMs - Math.min(REUSE_MARGIN_MS, lifeMs / 2),
      // The client credentials grant has no use for one (RFC 6749 §4.4.3).
      refreshToken: used.refreshToken === undefined ? undefined : refreshToken,
      unsaved: isRotated || wasUnsaved,
    };
  }

  #remember(name: string, session: Session): void {
    this.#sessions.delete(name);
    this.#sessions.set(name, session);
    if (this.#sessions.size <= MAX_SESSIONS) return;
    const oldest = this.#sessions.entries().find(([, s]) => !s.unsaved);
    if (oldest !== undefined) this.#sessions.delete(oldest[0]);
  }

  async #save(ref: ConnectionRef, refreshToken: string): Promise<void> {
    try {
      await this.#onRotated(ref, refreshToken);
    } catch (cause) {
      throw unavailable(ref, 'its new refresh token could not be stored', true, cause);
    }
  }
}

const unavailable = (ref: ConnectionRef, why: string, mayPass: boolean, cause?: unknown): WormholeError =>
  new WormholeError(
    'CREDENTIALS_UNAVAILABLE',
    `connection "${ref.key}" of tenant "${ref.tenantId}": ${why}`,
    {
      cause,
      ...(mayPass ? { retryAfterMs: RETRY_AFTER_MS } : {}),
    },
  );

const fingerprintOf = (c: OAuth2Credentials): string =>
  createHash('sha256')
    .update(JSON.stringify([c.tokenUrl, c.clientId, c.clientSecret, c.refreshToken ?? null, c.scope ?? null]))
    .digest('base64');

/** RFC 6749 §2.3.1: both parts are form-encoded before they are joined. */
function basicAuthorization({ clientId, clientSecret }: OAuth2Credentials): string {
  const encode = (text: string): string => new URLSearchParams([['', text]]).toString().slice(1);
  return `Basic ${Buffer.from(`${encode(clientId)}:${encode(clientSecret)}`).toString('base64')}`;
}

function formOf({ refreshToken, scope }: OAuth2Credentials): string {
  const form = new URLSearchParams(
    refreshToken === undefined
      ? { grant_type: 'client_credentials' }
      : { grant_type: 'refresh_token', refresh_token: refreshToken },
  );
  if (scope !== undefined) form.set('scope', scope);
  return form.toString();
}
