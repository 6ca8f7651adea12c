import { isIP } from 'node:net';
import { z } from 'zod';
import { parseHost } from './host.ts';

const port = z.int().min(1).max(65_535);

/**
 * A service at a private address that the operator, never a tenant, opens to runs under a name. A tenant reaches
 * it only if its allowlist names it too.
 */
export const internalServiceSchema = z.strictObject({
  host: z
    .string()
    .refine((host) => {
      const parsed = parseHost(host);
      return parsed?.kind === 'name' && parsed.text === host;
    }, 'must be a lower-case domain name, not an address')
    .describe('The name that workflows use.'),
  port: port.describe('The port that workflows use.'),
  address: z
    .string()
    .refine((address) => isIP(address) !== 0, 'must be an IPv4 or IPv6 address')
    .describe('Where the service listens; no name is resolved.'),
  targetPort: port.describe('The port that the service listens on.'),
});
export type InternalService = z.infer<typeof internalServiceSchema>;
