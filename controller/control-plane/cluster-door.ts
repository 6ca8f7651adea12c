import { join } from 'node:path';
import { ClusterKeys } from '../gateway/cluster-keys.ts';
import { PodIdentities } from '../gateway/pod-identity.ts';
import { TlsCredentials } from '../gateway/tls-credentials.ts';
import type { TlsListener } from '../gateway/tls-listener.ts';
import { egressProxyUrl, type KubernetesConfig } from '../kubernetes-config.ts';
import { anyAddress } from './any-address.ts';
import { required, type ComponentContext } from './component.ts';
import { untilAvailable } from './database.ts';
import type { GatewayDoor } from './gateway-door.ts';
import { apiServerOf } from './service-account.ts';

/** The service account that runs have in every tenant's namespace. */
const RUNNER_ACCOUNT = 'wormhole-runner';
/** Requests are short; a runner whose connection is closed between two of them goes to another gateway. */
const DRAIN_MS = 10_000;

/** TLS, and every request proves by its pod's token whose it is. @throws what the certificate's files refuse. */
export async function clusterDoor(
  context: ComponentContext,
  cluster: KubernetesConfig,
): Promise<GatewayDoor> {
  const { config, log, signal } = context;
  const credentials = await TlsCredentials.open(
    { certFile: join(config.tlsDir, 'tls.crt'), keyFile: join(config.tlsDir, 'tls.key') },
    { log },
  );
  let reasons: readonly string[] = ['the API server has not given its keys yet'];
  let listener: TlsListener | undefined;
  return {
    egressProxyUrl: egressProxyUrl(cluster),
    reasons: () => reasons,
    open: async (gateway) => {
      const keys = new ClusterKeys({ fetch: apiServerOf(serviceAccount(context)), log });
      await untilAvailable(() => keys.issuer(), { log, signal });
      const identities = new PodIdentities(keys, {
        audience: cluster.gateway.audience,
        serviceAccount: RUNNER_ACCOUNT,
        tenantNamespacePrefix: cluster.tenantNamespacePrefix,
      });
      listener = await gateway.listenOnTls({
        host: config.listenAddress ?? anyAddress(),
        port: cluster.gateway.port,
        credentials,
        authenticate: (token) => identities.verify(token),
      });
      reasons = [];
      log.info({ port: listener.port }, 'the gateway listens');
    },
    [Symbol.asyncDispose]: async () => {
      await listener?.close({ drainMs: DRAIN_MS });
      credentials.close();
    },
  };
}

function serviceAccount({ config, env }: ComponentContext) {
  return {
    host: required('KUBERNETES_SERVICE_HOST', env['KUBERNETES_SERVICE_HOST']),
    port: Number(required('KUBERNETES_SERVICE_PORT', env['KUBERNETES_SERVICE_PORT'])),
    folder: config.serviceAccountDir,
  };
}
