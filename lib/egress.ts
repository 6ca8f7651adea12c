import { z } from 'zod';

const DOMAIN_NAME =
  /^(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

const host = z
  .string()
  .max(253)
  .regex(DOMAIN_NAME, 'a lower-case domain name, optionally starting with "*."')
  .refine((name) => !/^[0-9.]+$/.test(name), 'a domain name, not an address');

const port = z.int().min(1).max(65_535);

export const egressRuleSchema = z.strictObject({
  host,
  ports: z.array(port).min(1).max(32).default([443]),
});

/** One line of an allowlist: a name (`api.example.com`, or `*.example.com` for everything below it) and ports. */
export type EgressRule = z.output<typeof egressRuleSchema>;

/** What a tenant's runs may reach, as the controller's tenants have it. */
export const egressPolicySchema = z.strictObject({
  mode: z.enum(['deny', 'allowlist', 'unrestricted']).default('deny'),
  allow: z.array(egressRuleSchema).max(1000).default([]),
});

/** A service at a private address that the operator opens to runs under a name, as the controller has it. */
export const internalServiceSchema = z.strictObject({
  host: host
    .refine((name) => !name.startsWith('*.'), 'a domain name without "*"')
    // A URL takes such a name for an address (https://url.spec.whatwg.org/#ends-in-a-number-checker).
    .refine((name) => !/(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)$/.test(name), 'a domain name, not an address'),
  port,
  address: z.union([z.ipv4(), z.ipv6()], 'an IPv4 or IPv6 address'),
  targetPort: port,
});
export type InternalService = z.output<typeof internalServiceSchema>;
