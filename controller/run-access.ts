import type pg from 'pg';
import type { Logger } from 'pino';
import { decisionLine } from './egress/decision-log.ts';
import { Dialer } from './egress/dial.ts';
import { signGrant } from './egress/grant.ts';
import type { InternalService } from './egress/internal-service.ts';
import { EgressProxy } from './egress/proxy.ts';
import { messageOf } from './errors.ts';
import { claimConnections } from './gateway/claim-connections.ts';
import type { ClaimContext } from './gateway/claim.ts';
import { Gateway } from './gateway/gateway.ts';
import { Reports } from './gateway/report.ts';
import { RunSockets } from './run-sockets.ts';
import type { KeyRing } from './secrets/cipher.ts';
import { AccessTokenSource } from './secrets/oauth2.ts';
import { resolveCredentials } from './secrets/resolve.ts';
import { openCredentials, sealCredentials, type ConnectionRef } from './secrets/sealed.ts';
import { TokenEndpoint } from './secrets/token-endpoint.ts';
import { findConnections, upsertConnection } from './store/connections.ts';
import { LogBuffer } from './store/logs/log-buffer.ts';
import type { LogStore } from './store/logs/types.ts';
import { getTenant } from './store/tenants.ts';

export interface RunAccessOptions {
  readonly pool: pg.Pool;
  readonly keys: KeyRing;
  readonly logs: LogStore;
  /** Private addresses that the operator opens to tenants whose allowlist names them. */
  readonly internalServices: readonly InternalService[];
  readonly log: Logger;
}

/** The only two things that a run can reach: the gateway and the egress proxy. */
export interface RunAccess {
  readonly sockets: RunSockets;
  /** Cuts every run off, and stores the log lines that wait. */
  close(): Promise<void>;
}

/** Where a container finds the proxy's socket. */
const EGRESS_PROXY_URL = 'unix:/run/wormhole/egress.sock';
/** A grant outlives its run's deadline by the time that the last request may take to be refused. */
const GRANT_SLACK_MS = 1_000;

/** Builds the gateway and the egress proxy over one store. */
export function openRunAccess(options: RunAccessOptions): RunAccess {
  const { pool, keys, logs, internalServices, log } = options;
  const lines = new LogBuffer(logs, (lost, error) => {
    log.warn({ lost, error: messageOf(error) }, 'log lines were lost');
  });
  const grantKey = keys.derive('egress-grants');
  const dialer = new Dialer();
  const proxy = new EgressProxy({
    grantKey,
    dialer,
    internalServices,
    onDecision: (record) => {
      const line = decisionLine(record);
      if (line !== null) lines.add(line);
    },
  });
  const tokens = new AccessTokenSource({
    endpoint: new TokenEndpoint({ dialer, internalServices }),
    onRotated: (ref, refreshToken) => storeRefreshToken(pool, keys, ref, refreshToken),
  });
  const context: ClaimContext = {
    pool,
    connections: claimConnections({
      pool,
      keys,
      log,
      resolve: async (ref, stored) => {
        const { egress: policy } = await getTenant(pool, ref.tenantId);
        return await resolveCredentials(stored, { ref, policy, tokens });
      },
    }),
    egress: async ({ runId, attempt }, tenantId, until) => {
      const { egress: policy } = await getTenant(pool, tenantId);
      const expiresAt = until.getTime() + GRANT_SLACK_MS;
      return {
        proxyUrl: EGRESS_PROXY_URL,
        grant: signGrant(grantKey, { tenantId, runId, attempt, policy, expiresAt }),
      };
    },
  };
  const reports = new Reports(pool, logs, ({ runId, attempt }, lost, error) => {
    log.warn({ runId, attempt, lost, error: messageOf(error) }, 'log lines of a run were lost');
  });
  const gateway = new Gateway(context, reports, log);
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
