/** The label keys of everything that a run or a tenant is made of; one vocabulary with the controller. */
export const LABELS = {
  managedBy: 'app.kubernetes.io/managed-by',
  component: 'app.kubernetes.io/component',
  /** The platform instance: two platforms in one cluster never touch each other's objects. */
  instance: 'app.kubernetes.io/instance',
  tenantId: 'wormhole.dev/tenant-id',
  runId: 'wormhole.dev/run-id',
  attempt: 'wormhole.dev/attempt',
  workflowVersionId: 'wormhole.dev/workflow-version-id',
  mode: 'wormhole.dev/mode',
} as const;

/** The label of a warm pool's idle pods: the pool's name. */
export const POOL_LABEL = 'wormhole.dev/pool';

/** Annotation keys. */
export const ANNOTATIONS = {
  /** On a run's Job: the digest of everything that its pod is made from. */
  spec: 'wormhole.dev/spec',
  /** On the control plane's pods: the digest of their configuration, so that a change of it rolls them. */
  config: 'wormhole.dev/config',
} as const;

export const MANAGED_BY = 'wormhole';

/** Values of the component label. Network policies select by them. */
export const COMPONENTS = {
  run: 'run',
  tenant: 'tenant',
  pool: 'pool',
  platform: 'platform',
  controller: 'controller',
  gateway: 'gateway',
  egressProxy: 'egress-proxy',
} as const;
export type Component = (typeof COMPONENTS)[keyof typeof COMPONENTS];

/** @returns the labels by which a component of one platform instance is selected. */
export const componentLabels = (instance: string, component: Component): Record<string, string> => ({
  [LABELS.managedBy]: MANAGED_BY,
  [LABELS.instance]: instance,
  [LABELS.component]: component,
});

/** @returns the labels of what a tenant's namespace holds, the namespace itself included. */
export const tenantLabels = (instance: string, tenantId: string): Record<string, string> => ({
  ...componentLabels(instance, COMPONENTS.tenant),
  [LABELS.tenantId]: tenantId,
});
