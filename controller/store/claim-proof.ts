import type { TenantId } from '../model/ids.ts';

/** How a container proves that an attempt is its own: with the attempt's token, or by being the tenant's pod. */
export type ClaimProof =
  | { readonly kind: 'token'; readonly hash: Buffer }
  /** `uid` of the pod, which nothing else ever has; `tenantId` that its namespace belongs to. */
  | { readonly kind: 'pod'; readonly uid: string; readonly tenantId: TenantId };

/**
 * The condition on run `r` and its attempt `a` under which a proof holds; `$3` and `$4` are {@link proofValues}. An
 * attempt with a token is never a pod's, and one without never a token's.
 */
export const PROVEN = '(a.claim_token_hash = $3 OR (a.claim_token_hash IS NULL AND r.tenant_id = $4))';

/** @returns `$3` and `$4` of {@link PROVEN}. */
export const proofValues = (proof: ClaimProof): readonly [Buffer | null, TenantId | null] =>
  proof.kind === 'token' ? [proof.hash, null] : [null, proof.tenantId];
