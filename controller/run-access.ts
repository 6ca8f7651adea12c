import type pg from 'pg';
import type { Logger } from 'pino';
import { decisionLine } from './egress/decision-log.ts';
import { Dialer } from './egress/dial.ts';
import type { InternalService } from './egress/internal-service.ts';
import { EgressProxy } from './egress/proxy.ts';
import { messageOf } from './errors.ts';
import { openGateway } from './open-gateway.ts';
import { RunSockets } from './run-sockets.ts';
import type { KeyRing } from './secrets/cipher.ts';
import { LogBuffer } from './store/logs/log-buffer.ts';
import type { LogStore } from './store/logs/types.ts';
import { EgressMetrics } from './telemetry/egress-metrics.ts';
import type { Metrics } from './telemetry/metrics.ts';

export interface RunAccessOptions {
  readonly pool: pg.Pool;
  readonly keys: KeyRing;
  readonly logs: LogStore;
  /** Private addresses that the operator opens to tenants whose allowlist names them. */
  readonly internalServices: readonly InternalService[];
  /** @default - nothing is counted */
  readonly metrics?: Metrics | undefined;
  readonly log: Logger;
}

/** The only two things that a run on this machine can reach: the gateway and the egress proxy. */
export interface RunAccess {
  readonly sockets: RunSockets;
  /** Cuts every run off, and stores the log lines that wait. */
  close(): Promise<void>;
}

/** Where a container finds the proxy's socket. */
const EGRESS_PROXY_URL = 'unix:/run/wormhole/egress.sock';

/** Builds the gateway and the egress proxy in this process. The proxy's decisions are lines of the runs' logs. */
export function openRunAccess(options: RunAccessOptions): RunAccess {
  const { keys, logs, internalServices, log } = options;
  const lines = new LogBuffer(logs, (lost, error) => {
    log.warn({ lost, error: messageOf(error) }, 'log lines were lost');
  });
  const metrics = options.metrics && new EgressMetrics(options.metrics);
  const grantKey = keys.derive('egress-grants');
  const proxy = new EgressProxy({
    grantKey,
    dialer: new Dialer(),
    internalServices,
    onDecision: (record) => {
      metrics?.decided(record);
      const line = decisionLine(record);
      if (line !== null) lines.add(line);
    },
  });
  const gateway = openGateway({ ...options, grantKey, egressProxyUrl: EGRESS_PROXY_URL });
  const sockets = new RunSockets(gateway, proxy);
  return {
    sockets,
    close: async () => {
      await sockets.closeAll();
      await gateway.close();
      await lines.flush();
    },
  };
}
