import type { Gateway } from '../gateway/gateway.ts';

/** How runs get to the gateway: over TLS in a cluster, through sockets on one machine. */
export interface GatewayDoor extends AsyncDisposable {
  /** Where runs find the egress proxy. */
  readonly egressProxyUrl: string;
  /** @returns why no run can be served, or nothing. */
  reasons(): readonly string[];
  /** Waits for what the door itself needs, and lets runs in. Closed by disposing of the door. */
  open(gateway: Gateway): Promise<void>;
}
