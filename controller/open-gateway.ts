import type pg from 'pg';
import type { Logger } from 'pino';
import { Dialer } from './egress/dial.ts';
import { signGrant } from './egress/grant.ts';
import type { InternalService } from './egress/internal-service.ts';
import { messageOf } from './errors.ts';
import { claimConnections } from './gateway/claim-connections.ts';
import { Gateway } from './gateway/gateway.ts';
import { Reports } from './gateway/report.ts';
import type { KeyRing } from './secrets/cipher.ts';
import { AccessTokenSource } from './secrets/oauth2.ts';
import { resolveCredentials } from './secrets/resolve.ts';
import { openCredentials, sealCredentials, type ConnectionRef } from './secrets/sealed.ts';
import { TokenEndpoint } from './secrets/token-endpoint.ts';
import { findConnections, upsertConnection } from './store/connections.ts';
import type { LogStore } from './store/logs/types.ts';
import { getTenant } from './store/tenants.ts';
import { GatewayMetrics } from './telemetry/gateway-metrics.ts';
import type { Metrics } from './telemetry/metrics.ts';

export interface OpenGatewayOptions {
  readonly pool: pg.Pool;
  /** Opens the tenants' credentials. */
  readonly keys: KeyRing;
  /** Signs egress grants: at least 32 random bytes, which the egress proxy has too. */
  readonly grantKey: Buffer;
  /** Where a run's container finds the egress proxy: `unix:/path` or `http://host:port`. */
  readonly egressProxyUrl: string;
  readonly logs: LogStore;
  /** Private addresses that token endpoints may have. */
  readonly internalServices: readonly InternalService[];
  /** @default - nothing is counted */
  readonly metrics?: Metrics | undefined;
  readonly log: Logger;
}

/** A grant outlives its run, which ends at its deadline anyway: the proxy's clock may be a minute ahead of ours. */
const GRANT_SLACK_MS = 90_000;

/** Builds the gateway over one store. It listens nowhere yet, and is closed with its own `close`. */
export function openGateway(options: OpenGatewayOptions): Gateway {
  const { pool, keys, grantKey, egressProxyUrl, logs, internalServices, log } = options;
  const metrics = options.metrics && new GatewayMetrics(options.metrics);
  const tokens = new AccessTokenSource({
    endpoint: new TokenEndpoint({ dialer: new Dialer(), internalServices }),
    onRotated: (ref, refreshToken) => storeRefreshToken(pool, keys, ref, refreshToken),
  });
  const connections = claimConnections({
    pool,
    keys,
    log,
    resolve: async (ref, stored) => {
      const { egress: policy } = await getTenant(pool, ref.tenantId);
      return await resolveCredentials(stored, { ref, policy, tokens });
    },
  });
  const reports = new Reports(pool, logs, ({ runId, attempt }, lost, error) => {
    metrics?.linesLost(lost);
    log.warn({ runId, attempt, lost, error: messageOf(error) }, 'log lines of a run were lost');
  });
  return new Gateway(
    {
      pool,
      connections,
      onClaimed: (mode, latencyMs) => metrics?.claimed(mode, latencyMs),
      egress: async ({ runId, attempt }, tenantId, forMs) => {
        const { egress: policy } = await getTenant(pool, tenantId);
        const expiresAt = Math.round(Date.now() + forMs + GRANT_SLACK_MS);
        const grant = signGrant(grantKey, { tenantId, runId, attempt, policy, expiresAt });
        return { proxyUrl: egressProxyUrl, grant };
      },
    },
    reports,
    log,
    metrics,
  );
}

/** A token endpoint may replace the refresh token at every use: the old one is spent then. */
async function storeRefreshToken(
  pool: pg.Pool,
  keys: KeyRing,
  ref: ConnectionRef,
  refreshToken: string,
): Promise<void> {
  const [connection] = await findConnections(pool, ref.tenantId, [ref.key]);
  if (connection === undefined) return;
  const stored = openCredentials(keys, ref, connection.sealed);
  if (stored.kind !== 'OAUTH2') return;
  const sealed = sealCredentials(keys, ref, { ...stored, refreshToken });
  await upsertConnection(pool, ref.tenantId, { key: ref.key, kind: 'OAUTH2', sealed });
}
