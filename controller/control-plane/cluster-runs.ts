import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import type { Logger } from 'pino';
import { ApiClient } from '../backends/kubernetes/api-client.ts';
import { ApiError } from '../backends/kubernetes/api-error.ts';
import { KubernetesBackend } from '../backends/kubernetes/kubernetes-backend.ts';
import { serviceHosts } from '../backends/kubernetes/service-hosts.ts';
import type { PlatformConfig } from '../config.ts';
import { BackendError, messageOf, WormholeError } from '../errors.ts';
import { gatewayUrl, type KubernetesConfig } from '../kubernetes-config.ts';
import type { RunPlace } from './controller.ts';

/** Runs get pods of the cluster. @throws {WormholeError} CONFIG_INVALID when runs could not start. */
export function clusterRuns(config: PlatformConfig, cluster: KubernetesConfig, log: Logger): RunPlace {
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
  return {
    open: () => Promise.resolve(backend),
    isAway: (error) =>
      (error instanceof ApiError && (error.transient || error.lacksRights)) ||
      (error instanceof BackendError && error.retryable),
    close: () => api.close(),
  };
}
