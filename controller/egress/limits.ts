/** What bounds the proxy's work for one run. */
export interface EgressLimits {
  /** Requests and tunnels of one attempt at the same time; more are answered TOO_MANY_CONNECTIONS. */
  readonly connectionsPerRun: number;
  /** Connections to one TCP listener, which many runs share; more are closed at once. */
  readonly tcpConnections: number;
  /** Those of them that showed no valid grant yet; the address that has the most makes room for others. */
  readonly unprovenConnections: number;
  /** Those of one address that showed no valid grant yet. */
  readonly unprovenPerAddress: number;
  /** How long a connection to a TCP listener may take to show one. */
  readonly proofTimeoutMs: number;
  /** At most so often one record tells how many connections were closed unread. */
  readonly dropRecordIntervalMs: number;
  /** The header of a request, grant included, and of the far side's answer. */
  readonly headerBytes: number;
  /** From connecting, or from the answer before, to a whole request header. */
  readonly headersTimeoutMs: number;
  /** How long a connection of the run may wait for its next request. */
  readonly keepAliveTimeoutMs: number;
  /** How long a request or a tunnel may go without a byte in either direction. */
  readonly idleTimeoutMs: number;
  /** How long one request or tunnel may take; never longer than its grant is valid. */
  readonly totalTimeoutMs: number;
}

/**
 * A runner connects anew for each request and shows its grant with the first bytes: 16 unproven ones are plenty for it,
 * and enough for the pods of a node that share an address. A tenth of all for those without proof leaves the others to
 * runs at work, and takes 63 pods that mean harm to fill.
 */
export const EGRESS_LIMITS: EgressLimits = {
  connectionsPerRun: 64,
  tcpConnections: 10_000,
  unprovenConnections: 1000,
  unprovenPerAddress: 16,
  proofTimeoutMs: 15_000,
  dropRecordIntervalMs: 10_000,
  headerBytes: 64 * 1024,
  headersTimeoutMs: 10_000,
  keepAliveTimeoutMs: 15_000,
  idleTimeoutMs: 5 * 60 * 1000,
  totalTimeoutMs: 24 * 60 * 60 * 1000,
};
