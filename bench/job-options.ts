import type { ApiClient } from '../controller/backends/kubernetes/api-client.ts';
import type { RunManifestOptions } from '../controller/backends/kubernetes/run-manifest.ts';
import { serviceHosts } from '../controller/backends/kubernetes/service-hosts.ts';
import type { AttemptSpec } from '../controller/backends/types.ts';
import { loadConfig } from '../controller/config.ts';
import { gatewayUrl } from '../controller/kubernetes-config.ts';
import { newRunId, newWorkflowVersionId } from '../controller/model/ids.ts';
import type { Tenant } from '../controller/model/tenant.ts';

const LIFETIME_MS = 600_000;

/** What a controller makes its Jobs with. */
export interface JobOptions extends RunManifestOptions {
  readonly tenants: readonly Tenant[];
}

/**
 * @param file the controller's declared file.
 * @param ca what runs are told to trust, in PEM.
 */
export async function readJobOptions(file: string, api: ApiClient, ca: string): Promise<JobOptions> {
  const { instance, kubernetes, tenants } = loadConfig({ env: {}, file });
  if (kubernetes === undefined)
    throw new Error('the declared file of a cluster has its section "kubernetes"');
  const {
    runnerImage: image,
    allowImageTag,
    placement,
    platformNamespace,
    gateway,
    egressProxy,
  } = kubernetes;
  return {
    ...{ instance, image, allowImageTag, placement, tenants },
    gateway: { url: gatewayUrl(kubernetes), audience: gateway.audience, ca },
    hosts: await serviceHosts(api, platformNamespace, [gateway.service, egressProxy.service])(),
  };
}

/** @returns an attempt of a run that no platform knows. */
export const strangeAttempt = ({ id: tenantId, limits }: Tenant): AttemptSpec => ({
  ...{ runId: newRunId(), attempt: 1, tenantId, workflowVersionId: newWorkflowVersionId(), limits },
  deadlineInMs: LIFETIME_MS,
  claimToken: null,
});
