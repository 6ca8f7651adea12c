import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { ApiClient } from '../backends/kubernetes/api-client.ts';
import { ApiError } from '../backends/kubernetes/api-error.ts';
import { KubernetesBackend } from '../backends/kubernetes/kubernetes-backend.ts';
import { serviceHosts } from '../backends/kubernetes/service-hosts.ts';
import type { PlatformConfig } from '../config.ts';
import { BackendError, messageOf, WormholeError } from '../errors.ts';
import { gatewayUrl } from '../kubernetes-config.ts';
import { takeLead } from '../lead.ts';
import { clusterOf, required, type OpenComponent } from './component.ts';
import { DatabaseProbe, untilAvailable } from './database.ts';

/**
 * The controller of a cluster: one of several leads, the others stand by, and both are ready while PostgreSQL is there.
 * Stopped, it gives up the lead and leaves the live runs, which are pods of their own, to the next.
 */
export const openControllerComponent: OpenComponent = async ({ config, probes, log, signal }) => {
  const databaseUrl = required('DATABASE_URL', config.databaseUrl);
  const { api, backend } = kubernetesBackend(config, log);
  const database = new DatabaseProbe(databaseUrl);
  probes.follow(() => database.reasons({ needsSchema: false }));
  const lead = await untilAvailable(
    () =>
      takeLead({
        config,
        databaseUrl,
        log,
        onStandby: () => log.info('another controller leads; standing by'),
        openBackend: () => {
          log.info('leading; taking over what was running');
          return Promise.resolve(backend);
        },
        signal,
      }),
    { log, signal, passes: isApiServerAway },
  );
  log.info('taking runs');
  return {
    failed: lead.failed,
    stop: async () => {
      await lead.abandon();
      api.close();
    },
  };
};

function kubernetesBackend(
  config: PlatformConfig,
  log: ConstructorParameters<typeof KubernetesBackend>[0]['log'],
): { readonly api: ApiClient; readonly backend: KubernetesBackend } {
  const cluster = clusterOf(config);
  const { platformNamespace, gateway, egressProxy, runnerImage, ...rest } = cluster;
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromDefault();
  const api = new ApiClient(kubeConfig);
  const caFile = join(config.tlsDir, 'ca.crt');
  const ca = (): string => {
    try {
      return readFileSync(caFile, 'utf8');
    } catch (error) {
      throw new WormholeError('CONFIG_INVALID', `cannot read ${caFile}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  };
  // Runs could not start without it: said now, not run by run.
  ca();
  const backend = new KubernetesBackend({
    ...rest,
    api,
    instance: config.instance,
    image: runnerImage,
    gateway: { url: gatewayUrl(cluster), audience: gateway.audience, ca },
    hosts: serviceHosts(api, platformNamespace, [gateway.service, egressProxy.service]),
    log,
  });
  return { api, backend };
}

const isApiServerAway = (error: unknown): boolean =>
  (error instanceof ApiError && (error.transient || error.lacksRights)) ||
  (error instanceof BackendError && error.retryable);
