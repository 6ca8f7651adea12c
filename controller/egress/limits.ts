/** What bounds the proxy's work for one run. */
export interface EgressLimits {
  /** Requests and tunnels of one attempt at the same time; more are answered TOO_MANY_CONNECTIONS. */
  readonly connectionsPerRun: number;
  /** Connections to one TCP listener, which many runs share; more are closed at once. */
  readonly tcpConnections: number;
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

export const EGRESS_LIMITS: EgressLimits = {
  connectionsPerRun: 64,
  tcpConnections: 10_000,
  headerBytes: 64 * 1024,
  headersTimeoutMs: 10_000,
  keepAliveTimeoutMs: 15_000,
  idleTimeoutMs: 5 * 60 * 1000,
  totalTimeoutMs: 24 * 60 * 60 * 1000,
};
