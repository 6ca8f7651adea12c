import type pg from 'pg';
import { WormholeError } from '../errors.ts';
import type { AttemptRef, TenantId } from '../model/ids.ts';
import { LIMITS } from '../model/limits.ts';
import type { WorkflowDefinition } from '../model/workflow-definition.ts';
import { findClaimable } from '../store/attempts.ts';
import type { ClaimProof } from '../store/claim-proof.ts';
import { claimRun } from '../store/run-transitions.ts';
import type { ClaimedConnection, ClaimResponse } from './messages.ts';
import { hashToken, newToken } from './tokens.ts';
import { stepTraceparents } from '../telemetry/trace-context.ts';

/** What a claim needs from its surroundings. */
export interface ClaimContext {
  readonly pool: pg.Pool;
  /** Opens the tenant's named connections. One that cannot be had is `UNAVAILABLE` and fails only the steps that use it. */
  readonly connections: (
    tenantId: TenantId,
    keys: readonly string[],
  ) => Promise<Record<string, ClaimedConnection>>;
  /** @returns the egress proxy's address as the container sees it, and a grant for it. */
  readonly egress: (ref: AttemptRef, tenantId: TenantId, forMs: number) => Promise<ClaimResponse['egress']>;
  /**
   * Told of each payload that was handed out: by which backend, and how long after its run was submitted, in ms.
   * @default - nobody is told
   */
  readonly onClaimed?: ((mode: string, latencyMs: number) => void) | undefined;
}

/**
 * Hands the payload out, at most once per attempt. Everything that can fail is done before the compare-and-set, so
 * that a claim is not spent on an answer that is never given.
 * @throws {WormholeError} CLAIM_REFUSED.
 */
export async function claim(
  context: ClaimContext,
  ref: AttemptRef,
  proof: ClaimProof,
): Promise<ClaimResponse> {
  const askedAtMs = performance.now();
  const payload = await findClaimable(context.pool, ref, proof);
  if (payload === undefined) throw refused(ref);
  const definition = payload.definition as unknown as WorkflowDefinition;
  const keys = definition.steps.flatMap(({ action }) =>
    action.auth === undefined ? [] : [action.auth.connection],
  );
  const [connections, egress] = await Promise.all([
    context.connections(payload.tenantId, [...new Set(keys)]),
    context.egress(ref, payload.tenantId, payload.deadlineInMs),
  ]);
  const reportToken = newToken();
  const won = await claimRun(context.pool, ref, { proof, reportTokenHash: hashToken(reportToken) });
  if (!won) throw refused(ref);
  context.onClaimed?.(payload.mode, payload.queuedMsAgo + (performance.now() - askedAtMs));
  return {
    run: {
      id: payload.runId,
      attempt: payload.attempt,
      tenantId: payload.tenantId,
      workflowVersionId: payload.workflowVersionId,
    },
    definition: payload.definition,
    input: payload.input,
    connections,
    traceparents: stepTraceparents(
      ref,
      payload.traceparent,
      definition.steps.map(({ key }) => key),
    ),
    deadlineMs: Math.max(0, Math.round(payload.deadlineInMs - (performance.now() - askedAtMs))),
    reportToken,
    egress,
    limits: {
      outputBytes: LIMITS.outputBytes,
      logMessageBytes: LIMITS.logMessageBytes,
      logBytesPerRun: LIMITS.logBytesPerRun,
      responseBytes: LIMITS.responseBytes,
    },
  };
}

const refused = (ref: AttemptRef): WormholeError =>
  new WormholeError(
    'CLAIM_REFUSED',
    `attempt ${ref.attempt} of run ${ref.runId} cannot be claimed: it was claimed before, has ended, or is not this container's`,
  );
