import { z } from 'zod';

const secret = z
  .string()
  .min(1)
  .max(64 * 1024);
const headerName = z
  .string()
  .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/, 'must be a header name (RFC 9110)');

/** Credentials as a tenant stores them; encrypted at rest, opened in the gateway only. */
export const storedCredentialsSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('API_KEY'),
    in: z.enum(['header', 'query']).default('header'),
    name: headerName.default('X-API-Key'),
    value: secret,
  }),
  z.strictObject({ kind: z.literal('BASIC'), username: z.string().max(1024), password: secret }),
  z.strictObject({ kind: z.literal('CUSTOM_HEADER'), headers: z.record(headerName, secret) }),
  z.strictObject({
    kind: z.literal('OAUTH2'),
    tokenUrl: z.url({ protocol: /^https?$/ }),
    clientId: z.string().min(1).max(1024),
    clientSecret: secret,
    /** Present: the refresh token grant (RFC 6749 §6). Absent: the client credentials grant (§4.4). */
    refreshToken: secret.optional(),
    scope: z.string().max(4096).optional(),
  }),
]);
export type StoredCredentials = z.infer<typeof storedCredentialsSchema>;

/** Credentials as the runner gets them in the claim: an OAuth2 connection is a short-lived access token by then. */
export type RunCredentials =
  Exclude<StoredCredentials, { kind: 'OAUTH2' }> | { readonly kind: 'OAUTH2'; readonly accessToken: string };
