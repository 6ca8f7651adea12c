import { join } from 'node:path';
import pg from 'pg';
import { ClusterKeys } from '../gateway/cluster-keys.ts';
import { PodIdentities } from '../gateway/pod-identity.ts';
import { TlsCredentials } from '../gateway/tls-credentials.ts';
import { egressProxyUrl } from '../kubernetes-config.ts';
import { openGateway } from '../open-gateway.ts';
import { KeyRing } from '../secrets/cipher.ts';
import { openLogStore } from '../store/logs/open.ts';
import { WormholeError } from '../errors.ts';
import { clusterOf, required, type ComponentContext, type OpenComponent } from './component.ts';
import { DatabaseProbe, untilAvailable } from './database.ts';
import { anyAddress } from './any-address.ts';
import { apiServerOf } from './service-account.ts';

const POOL_CONNECTIONS = 20;
/** The service account that runs have in every tenant's namespace. */
const RUNNER_ACCOUNT = 'wormhole-runner';
/** Requests are short; a runner whose connection is closed between two of them goes to another gateway. */
const DRAIN_MS = 10_000;

/** The run gateway of a cluster: TLS, and every request proves by its pod's token whose it is. */
export const openGatewayComponent: OpenComponent = async (context) => {
  const { config, probes, log, signal } = context;
  const cluster = clusterOf(config);
  const databaseUrl = required('DATABASE_URL', config.databaseUrl);
  const keys = KeyRing.parse(required('WORMHOLE_ENCRYPTION_KEYS', config.encryptionKeys));
  const grantKey = Buffer.from(required('WORMHOLE_EGRESS_GRANT_KEY', config.egressGrantKey), 'base64');
  await using opened = new AsyncDisposableStack();

  const credentials = await TlsCredentials.open(
    { certFile: join(config.tlsDir, 'tls.crt'), keyFile: join(config.tlsDir, 'tls.key') },
    { log },
  );
  opened.defer(() => credentials.close());
  const database = opened.use(new DatabaseProbe(databaseUrl));
  probes.follow(() => database.reasons({ needsSchema: true }));
  const onLost = (error: Error): void => log.warn({ error: error.message }, 'a connection was lost');
  const pool = new pg.Pool({ connectionString: databaseUrl, max: POOL_CONNECTIONS });
  pool.on('error', onLost);
  opened.defer(() => pool.end());
  await untilAvailable(() => waitForSchema(database), { log, signal });
  const logs = await untilAvailable(
    () => openLogStore({ pool, mongodbUrl: config.mongodbUrl, log: (message) => log.warn(message) }),
    { log, signal },
  );
  opened.defer(() => logs.close());

  const clusterKeys = new ClusterKeys({ fetch: apiServerOf(serviceAccount(context)), log });
  let identityReasons: readonly string[] = ['the API server has not given its keys yet'];
  probes.follow(async () => [...(await database.reasons({ needsSchema: true })), ...identityReasons]);
  await untilAvailable(() => clusterKeys.issuer(), { log, signal });
  const identities = new PodIdentities(clusterKeys, {
    audience: cluster.gateway.audience,
    serviceAccount: RUNNER_ACCOUNT,
    tenantNamespacePrefix: cluster.tenantNamespacePrefix,
  });

  const { internalServices } = config;
  const gateway = openGateway({
    ...{ pool, keys, grantKey, logs, internalServices, log },
    egressProxyUrl: egressProxyUrl(cluster),
  });
  opened.defer(() => gateway.close());
  const listener = await gateway.listenOnTls({
    host: config.listenAddress ?? anyAddress(),
    port: cluster.gateway.port,
    credentials,
    authenticate: (token) => identities.verify(token),
  });
  opened.defer(() => listener.close({ drainMs: DRAIN_MS }));
  identityReasons = [];
  log.info({ port: listener.port }, 'the gateway listens');
  const all = opened.move();
  return { stop: () => all.disposeAsync() };
};

async function waitForSchema(database: DatabaseProbe): Promise<void> {
  const [reason] = await database.reasons({ needsSchema: true });
  if (reason !== undefined) throw new WormholeError('DATABASE_UNAVAILABLE', reason);
}

function serviceAccount({ config, env }: ComponentContext) {
  return {
    host: required('KUBERNETES_SERVICE_HOST', env['KUBERNETES_SERVICE_HOST']),
    port: Number(required('KUBERNETES_SERVICE_PORT', env['KUBERNETES_SERVICE_PORT'])),
    folder: config.serviceAccountDir,
  };
}
