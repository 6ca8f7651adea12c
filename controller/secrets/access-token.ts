import { z } from 'zod';

/** What an access token may look like: it becomes a header of the run's requests (RFC 6750 §2.1, generously). */
const token = z.string().regex(/^[!-~]{1,16384}$/);

const responseSchema = z.object({
  access_token: token,
  token_type: z
    .string()
    .regex(/^bearer$/i)
    .optional(),
  expires_in: z.coerce.number().nonnegative().optional(),
  refresh_token: token.optional(),
});

/** A token endpoint's answer (RFC 6749 §5.1). */
export interface TokenResponse {
  readonly accessToken: string;
  /** Undefined if the endpoint did not say: then it is not known how long the token is good for. */
  readonly expiresInMs: number | undefined;
  /** A new refresh token, which replaces the one that was used. */
  readonly refreshToken: string | undefined;
}

/** @returns null if the text is not a bearer token answer. */
export function parseTokenResponse(text: string): TokenResponse | null {
  const parsed = responseSchema.safeParse(jsonOf(text));
  if (!parsed.success) return null;
  const { access_token: accessToken, expires_in: seconds, refresh_token: refreshToken } = parsed.data;
  return { accessToken, expiresInMs: seconds === undefined ? undefined : seconds * 1000, refreshToken };
}

/** RFC 6749 §5.2; nothing else of an error answer is repeated, since it may hold anything. */
const ERROR_CODES = [
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
];

/** @returns the error code of the standard that the answer gives; null if it gives none. */
export function standardErrorCode(text: string): string | null {
  const parsed = z.object({ error: z.string() }).safeParse(jsonOf(text));
  return ERROR_CODES.find((code) => parsed.success && parsed.data.error === code) ?? null;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The message of the error would quote the text.
    return undefined;
  }
}
