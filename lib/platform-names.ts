/**
 * What the control plane's objects are called in every platform namespace. Two platforms in one cluster have a
 * namespace each; only what belongs to the whole cluster has the instance in its name.
 */

/** The run gateway: its service, and the audience of the tokens that it takes. */
export const GATEWAY = { service: 'wormhole-gateway', port: 8443, audience: 'wormhole-gateway' } as const;

/** The egress proxy's service. */
export const EGRESS_PROXY = { service: 'wormhole-egress-proxy', port: 3128 } as const;

/** Service accounts. `runner` is the one that every tenant namespace has. */
export const ACCOUNTS = {
  controller: 'wormhole-controller',
  gateway: 'wormhole-gateway',
  egressProxy: 'wormhole-egress-proxy',
  runner: 'wormhole-runner',
} as const;

/** The ConfigMap with the control plane's `wormhole.yaml`. */
export const CONFIG_MAP = { name: 'wormhole-config', file: 'wormhole.yaml' } as const;
