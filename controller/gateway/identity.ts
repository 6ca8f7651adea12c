import type { AttemptRef, TenantId } from '../model/ids.ts';

/** A pod that runs an attempt, as its service account token proves. */
export interface PodIdentity extends AttemptRef {
  /** Whose namespace the pod is in. Whether the run is this tenant's is for the claim to see. */
  readonly tenantId: TenantId;
  readonly podUid: string;
}

/** Where a request comes from: the attempt's own socket, or a pod. */
export type RunnerIdentity =
  (AttemptRef & { readonly kind: 'socket' }) | (PodIdentity & { readonly kind: 'pod' });
