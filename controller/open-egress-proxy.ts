import type { Logger } from 'pino';
import { Dialer } from './egress/dial.ts';
import type { InternalService } from './egress/internal-service.ts';
import { EgressProxy } from './egress/proxy.ts';
import { EgressMetrics } from './telemetry/egress-metrics.ts';
import type { Metrics } from './telemetry/metrics.ts';

export interface OpenEgressProxyOptions {
  /** With which the gateway signs grants: at least 32 random bytes. */
  readonly grantKey: Buffer;
  /** Private addresses that the operator opens to tenants whose allowlist names them. */
  readonly internalServices: readonly InternalService[];
  /** @default - nothing is counted */
  readonly metrics?: Metrics | undefined;
  /** Takes one line for every decision. */
  readonly log: Logger;
}

/**
 * Builds an egress proxy for a process of its own, which needs no database: its decisions go to its log. It listens
 * nowhere yet.
 */
export function openEgressProxy(options: OpenEgressProxyOptions): EgressProxy {
  const { grantKey, internalServices, log } = options;
  const metrics = options.metrics && new EgressMetrics(options.metrics);
  return new EgressProxy({
    grantKey,
    dialer: new Dialer(),
    internalServices,
    onDecision: (record) => {
      metrics?.decided(record);
      if (record.allowed) log.info(record, 'egress allowed');
      else log.warn(record, 'egress denied');
    },
  });
}
