import { WormholeError } from '../errors.ts';

/**
 * Why the egress proxy did not let a request through, and the HTTP status it answers with: a closed list,
 * documented in docs/egress.md.
 */
export const EGRESS_REASONS = {
  REQUEST_INVALID: 400,
  HEADERS_TOO_LARGE: 431,
  REQUEST_TIMEOUT: 408,
  CLIENT_CLOSED: 499,
  GRANT_REQUIRED: 407,
  GRANT_INVALID: 403,
  GRANT_EXPIRED: 403,
  GRANT_MISMATCH: 403,
  HOST_INVALID: 403,
  HOST_MISMATCH: 403,
  EGRESS_DISABLED: 403,
  HOST_NOT_ALLOWED: 403,
  PORT_NOT_ALLOWED: 403,
  ADDRESS_LITERAL: 403,
  NAME_NOT_PUBLIC: 403,
  ADDRESS_NOT_PUBLIC: 403,
  NAME_NOT_RESOLVED: 502,
  CONNECT_FAILED: 502,
  CONNECT_TIMEOUT: 504,
  UPSTREAM_FAILED: 502,
  IDLE_TIMEOUT: 504,
  TOTAL_TIMEOUT: 504,
  TOO_MANY_CONNECTIONS: 503,
} as const;
export type EgressReason = keyof typeof EGRESS_REASONS;

/** The way out was refused or did not work. The message is for the tenant: it never tells what an internal name resolves to. */
export class EgressRefusal extends WormholeError {
  readonly reason: EgressReason;
  /** The address that was refused or could not be reached, for the operator's records only. */
  readonly address: string | null;

  constructor(reason: EgressReason, message: string, options: { cause?: unknown; address?: string } = {}) {
    super('EGRESS_DENIED', message, options.cause === undefined ? {} : { cause: options.cause });
    this.reason = reason;
    this.address = options.address ?? null;
  }

  /** The status that the proxy answers with. */
  override get status(): number {
    return EGRESS_REASONS[this.reason];
  }
}
