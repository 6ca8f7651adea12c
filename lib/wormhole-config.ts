import { stringify } from 'yaml';
import type { Environment } from './environment.ts';
import { EGRESS_PROXY, GATEWAY } from './platform-names.ts';

/** @returns the control plane's `wormhole.yaml`: what the controller's configuration reads, docs/configuration.md. */
export const wormholeConfig = (environment: Environment): string => {
  const { instance, maxConcurrent, tenants, internalServices, logRetentionDays, claimTimeoutMs, retry } =
    environment;
  const { startRate } = environment;
  const { platformNamespace, tenantNamespacePrefix, images, allowImageTag, placement, kueue } = environment;
  const declared = {
    instance,
    maxConcurrent,
    ...(startRate && { startRate }),
    tenants,
    internalServices,
    logRetentionDays,
    claimTimeoutMs,
    retry,
    kubernetes: {
      platformNamespace,
      tenantNamespacePrefix,
      runnerImage: images.runner,
      allowImageTag,
      gateway: GATEWAY,
      egressProxy: EGRESS_PROXY,
      placement,
      ...kueue,
      unschedulableTimeoutMs: environment.unschedulableTimeoutMs,
    },
  };
  return stringify(declared, { lineWidth: 0, aliasDuplicateObjects: false });
};
