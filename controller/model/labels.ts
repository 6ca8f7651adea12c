/** Labels that every container of ours carries, on any backend. */
export const LABELS = {
  managedBy: 'app.kubernetes.io/managed-by',
  component: 'app.kubernetes.io/component',
  /** The platform instance: two platforms on one engine never touch each other's containers. */
  instance: 'app.kubernetes.io/instance',
  tenantId: 'wormhole.dev/tenant-id',
  runId: 'wormhole.dev/run-id',
  attempt: 'wormhole.dev/attempt',
  workflowVersionId: 'wormhole.dev/workflow-version-id',
  mode: 'wormhole.dev/mode',
  /** When the watchdog ends the container: milliseconds since the epoch. */
  deadline: 'wormhole.dev/deadline',
} as const;

export const MANAGED_BY = 'wormhole';
