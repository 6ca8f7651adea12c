import { createHash } from 'node:crypto';
import type pg from 'pg';
import type { z } from 'zod';
import type { RunLimits } from '../backends/types.ts';
import { WormholeError } from '../errors.ts';
import { newRunId, type RunId, type TenantId, type WorkflowVersionId } from '../model/ids.ts';
import { problemOfJson, type Json } from '../model/json.ts';
import { LIMITS } from '../model/limits.ts';
import type { Tenant } from '../model/tenant.ts';
import { traceparentSchema } from '../model/traceparent.ts';
import { workflowDefinitionSchema, type WorkflowDefinition } from '../model/workflow-definition.ts';
import { transaction } from '../store/database.ts';
import { placeExpectedIn, takePlace } from '../store/queue-room.ts';
import { findAccepted, insertRun, type NewRun } from '../store/runs.ts';
import { getTenant } from '../store/tenants.ts';
import { findWorkflowVersion, putWorkflowVersion, type WorkflowVersion } from '../store/workflow-versions.ts';

/** What a run is asked for with: a definition, or a version that was stored before. */
export type SubmitRequest = {
  readonly tenantId: TenantId;
  readonly input: unknown;
  /** The same key again, for the same request, is the same run. At most 255 characters. */
  readonly idempotencyKey?: string | undefined;
  /** The W3C trace context that the run is part of. */
  readonly traceparent?: string | undefined;
  readonly rerunOf?: RunId | undefined;
  /** @default - a new UUIDv7 */
  readonly runId?: RunId | undefined;
} & ({ readonly definition: unknown } | { readonly workflowVersionId: WorkflowVersionId });

export interface Submitted {
  readonly runId: RunId;
  /** The idempotency key was used before: this is that run. */
  readonly deduplicated: boolean;
}

const IDEMPOTENCY_KEY = /^[\u0021-\u007e]{1,255}$/;
/** Whoever is refused is told to come again no sooner and no later than this, whatever the pace of the queue. */
const RETRY_MS = { least: 1_000, most: 60_000 };

/**
 * Checks the request and records the run as QUEUED, unless the tenant has `maxQueued` runs queued: never more get in,
 * however many submit at once.
 * @throws {WormholeError} TENANT_NOT_FOUND, WORKFLOW_NOT_FOUND, DEFINITION_INVALID, INPUT_INVALID, PAYLOAD_INVALID,
 *   IDEMPOTENCY_CONFLICT.
 * @throws {QueueFullError} with when to come again.
 */
export async function submitRun(pool: pg.Pool, request: SubmitRequest): Promise<Submitted> {
  const input = checkInput(request.input);
  const definition = 'definition' in request ? parseDefinition(request.definition) : undefined;
  if (request.idempotencyKey !== undefined && !IDEMPOTENCY_KEY.test(request.idempotencyKey)) {
    throw new WormholeError(
      'PAYLOAD_INVALID',
      'the idempotency key must be 1 to 255 printable ASCII characters',
    );
  }
  const traceparent = traceparentSchema.optional().safeParse(request.traceparent);
  if (!traceparent.success) {
    const [issue] = traceparent.error.issues;
    throw new WormholeError('PAYLOAD_INVALID', `the trace context ${issue?.message ?? 'is wrong'}`);
  }
  const outcome = await transaction(pool, async (db) => {
    const tenant = await getTenant(db, request.tenantId);
    const version =
      definition === undefined
        ? await findWorkflowVersion(
            db,
            tenant.id,
            (request as { workflowVersionId: WorkflowVersionId }).workflowVersionId,
          )
        : await putWorkflowVersion(db, tenant.id, definition);
    if (version === undefined) {
      throw new WormholeError(
        'WORKFLOW_NOT_FOUND',
        `tenant "${tenant.id}" has no workflow version with the id that the run names; submit the definition once to store it`,
      );
    }
    const run: NewRun = {
      id: request.runId ?? newRunId(),
      tenantId: tenant.id,
      workflowVersionId: version.id,
      input,
      ...boundsOf(tenant, version),
      idempotencyKey: request.idempotencyKey ?? null,
      requestDigest: digestOf(version.id, input),
      rerunOf: request.rerunOf ?? null,
      traceparent: request.traceparent ?? null,
    };
    // One that was accepted before always is again.
    const accepted = await findAccepted(db, run);
    if (accepted !== undefined) return { kind: 'submitted', runId: accepted, deduplicated: true } as const;
    if (await takePlace(db, tenant)) return { kind: 'submitted', ...(await insertRun(db, run)) } as const;
    // Committed, too: that the queue was counted.
    return { kind: 'full', tenant, expectedMs: await placeExpectedIn(db, tenant.id) } as const;
  });
  if (outcome.kind === 'full') throw new QueueFullError(outcome.tenant, outcome.expectedMs);
  return { runId: outcome.runId, deduplicated: outcome.deduplicated };
}

/** The tenant has `maxQueued` runs queued. */
export class QueueFullError extends WormholeError {
  override readonly retryAfterMs: number;
  /** What the tenant's declaration says of those who come then. */
  readonly whenFull: Tenant['whenFull'];

  /** @param expectedMs when there may be a place again. */
  constructor(tenant: Tenant, expectedMs: number) {
    super(
      'QUEUE_FULL',
      `tenant "${tenant.id}" has ${tenant.maxQueued} runs queued, which is its limit; try again later or raise maxQueued`,
    );
    this.retryAfterMs = Math.ceil(Math.min(RETRY_MS.most, Math.max(RETRY_MS.least, expectedMs)));
    this.whenFull = tenant.whenFull;
  }
}

/** @throws {WormholeError} DEFINITION_INVALID, naming the first keys that are wrong. */
export function parseDefinition(definition: unknown): WorkflowDefinition {
  const problem = problemOfJson(definition, LIMITS.definitionBytes);
  if (problem !== null) throw new WormholeError('DEFINITION_INVALID', `the workflow definition ${problem}`);
  const parsed = workflowDefinitionSchema.safeParse(definition);
  if (parsed.success) return parsed.data;
  throw new WormholeError(
    'DEFINITION_INVALID',
    `the workflow definition is wrong: ${issuesOf(parsed.error)}`,
  );
}

const SHOWN_ISSUES = 5;

function issuesOf(error: z.ZodError): string {
  const shown = error.issues
    .slice(0, SHOWN_ISSUES)
    .map((issue) => `${issue.path.join('.') || 'the document'}: ${issue.message}`);
  const more = error.issues.length - shown.length;
  return [...shown, ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
}

function checkInput(input: unknown): Json {
  const value = input === undefined ? {} : input;
  const problem = problemOfJson(value, LIMITS.inputBytes);
  if (problem !== null) throw new WormholeError('INPUT_INVALID', `the input ${problem}`);
  return value as Json;
}

/** @returns the run's deadline and limits: what the workflow asks for, never more than the tenant has. */
function boundsOf(
  tenant: Tenant,
  { definition }: WorkflowVersion,
): { timeoutMs: number; limits: RunLimits; retryAfterClaim: boolean } {
  return {
    timeoutMs: Math.min(definition.timeoutMs, tenant.maxTimeoutMs),
    limits: {
      ...tenant.limits,
      cpus: Math.min(definition.limits.cpus ?? tenant.limits.cpus, tenant.limits.cpus),
      memoryMb: Math.min(definition.limits.memoryMb ?? tenant.limits.memoryMb, tenant.limits.memoryMb),
    },
    retryAfterClaim: definition.retryAfterClaim,
  };
}

const digestOf = (version: WorkflowVersionId, input: Json): Buffer =>
  createHash('sha256').update(version).update(JSON.stringify(input)).digest();
