import type { RunId, TenantId } from '../model/ids.ts';
import type { EgressReason } from './reasons.ts';

/**
 * What the proxy decided about one request: made exactly once for each, refused and malformed ones included; and now and
 * then one for the connections that it closed unread.
 */
export interface EgressRecord {
  /** Null if the request proved no tenant. */
  readonly tenantId: TenantId | null;
  /** From the grant; before that is verified, from the run's own socket. */
  readonly runId: RunId | null;
  readonly attempt: number | null;
  /** Null if the request could not be parsed. */
  readonly method: string | null;
  /** Normalised. Null, like `port`, if the request named no valid target. */
  readonly host: string | null;
  readonly port: number | null;
  /** Whether the far side was connected to. */
  readonly allowed: boolean;
  /** Null exactly when allowed. */
  readonly reason: EgressReason | null;
  /** The address that was connected to, or the one that was refused or did not answer. */
  readonly address: string | null;
  /** How many connections were closed unread since the last such record; null for a request. */
  readonly dropped: number | null;
  readonly at: Date;
}
