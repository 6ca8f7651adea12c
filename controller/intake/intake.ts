import type { Job } from 'bullmq';
import type pg from 'pg';
import type { Logger } from 'pino';
import { messageOf, WormholeError } from '../errors.ts';
import { newRunId, tenantIdSchema, type RunId, type TenantId } from '../model/ids.ts';
import type { Reason } from '../model/reasons.ts';
import { INTAKE_QUEUE } from '../queue/names.ts';
import type { JobOutcome, JobQueue, JobWorker, QueueServer } from '../queue/queue-server.ts';
import type { RunChanges } from '../store/notifications.ts';
import { insertRefusedRun } from '../store/runs.ts';
import type { DeadLetters } from './dead-letters.ts';
import { requestOf, type IntakeRequest } from './intake-payload.ts';
import { QueueFullError, submitRun } from './submit.ts';
import { WaitingLines, type Try } from './waiting-lines.ts';

export interface IntakeOptions {
  readonly pool: pg.Pool;
  readonly server: QueueServer;
  readonly changes: RunChanges;
  readonly deadLetters: DeadLetters;
  readonly log: Logger;
}

const CONCURRENCY = 8;
/** How soon a job is tried again whose processing failed unexpectedly. */
const FAILED_RETRY_MS = 1_000;
/**
 * A job that waits in a line is delivered again now and then, in case that line is gone with its controller: after so
 * long, and later the longer the line is, so that a long line is no load.
 */
const DELAY = { leastMs: 30_000, perWaitingMs: 20 };

/**
 * Takes runs from the open queue `workflow_runs`: checks them and records them. A job that is wrong ends in `dlq`, and as
 * a FAILED run where its tenant can be told. A job whose tenant's queue is full fails, or by the tenant's `whenFull`
 * waits: delayed, and taken by its turn as soon as there is a place.
 */
export class Intake {
  readonly #options: IntakeOptions;
  readonly #queue: JobQueue<unknown>;
  readonly #lines: WaitingLines;
  /** Jobs that are in a line. */
  readonly #waiting = new Map<string, Promise<void>>();
  readonly #closing = new AbortController();
  #worker: JobWorker | undefined;

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#queue = options.server.queue(INTAKE_QUEUE);
    this.#lines = new WaitingLines(options.changes);
  }

  async start(): Promise<void> {
    this.#worker = await this.#options.server.worker<unknown>(
      INTAKE_QUEUE,
      (job) => this.#process(job),
      CONCURRENCY,
    );
  }

  async #process(job: Job<unknown>): Promise<JobOutcome> {
    const jobId = job.id ?? '';
    let request: IntakeRequest;
    try {
      request = requestOf(jobId, job.data);
    } catch (error) {
      return await this.#refused(job, undefined, error);
    }
    // Who comes later waits behind the others, whatever the queue's state is by now.
    const waitsAlready = this.#waiting.has(jobId);
    if (!waitsAlready && this.#lines.lengthOf(request.tenantId) === 0) {
      const result = await this.#submit(job, request);
      if (result.kind !== 'full') return result;
    }
    if (!waitsAlready) this.#join(jobId, request);
    const waiting = this.#lines.lengthOf(request.tenantId);
    return { kind: 'postponed', delayMs: Math.max(DELAY.leastMs, waiting * DELAY.perWaitingMs) };
  }

  async #submit(job: Job<unknown>, request: IntakeRequest): Promise<JobOutcome | { readonly kind: 'full' }> {
    try {
      await submitRun(this.#options.pool, request);
      return { kind: 'done' };
    } catch (error) {
      if (error instanceof QueueFullError && error.whenFull === 'wait') return { kind: 'full' };
      return await this.#refused(job, request, error);
    }
  }

  /** Puts the job into its tenant's line. Only its id is kept: its payload stays in the queue. */
  #join(jobId: string, { tenantId }: IntakeRequest): void {
    const { log } = this.#options;
    const waited = this.#lines
      .wait(tenantId, () => this.#takeWaiting(jobId), this.#closing.signal)
      .catch((error: unknown) => {
        if (!this.#closing.signal.aborted) log.warn({ jobId, error: messageOf(error) }, 'lost a waiting job');
      })
      .finally(() => this.#waiting.delete(jobId));
    this.#waiting.set(jobId, waited);
  }

  async #takeWaiting(jobId: string): Promise<Try<void>> {
    const done = { kind: 'done', value: undefined } as const;
    try {
      const job = await this.#queue.getJob(jobId);
      if (job === undefined) return done;
      await submitRun(this.#options.pool, requestOf(jobId, job.data));
      await this.#queue.remove(jobId);
      return done;
    } catch (error) {
      if (error instanceof QueueFullError && error.whenFull === 'wait') {
        return { kind: 'full', retryAfterMs: error.retryAfterMs };
      }
      // Refused when it is delivered again, as any other.
      if (error instanceof WormholeError) return done;
      this.#options.log.warn(
        { jobId, error: messageOf(error) },
        'could not take a waiting job; trying again',
      );
      return { kind: 'full', retryAfterMs: FAILED_RETRY_MS };
    }
  }

  async #refused(job: Job<unknown>, request: IntakeRequest | undefined, error: unknown): Promise<JobOutcome> {
    if (!(error instanceof WormholeError)) throw error;
    const jobId = job.id ?? '';
    const refusal: JobOutcome = { kind: 'refused', message: `${error.code}: ${error.message}` };
    // Its producer may try again; many such jobs would drive others out of the dead letters.
    if (error instanceof QueueFullError) {
      return { ...refusal, message: `${refusal.message}; try again in ${error.retryAfterMs} ms` };
    }
    const runId = request === undefined ? null : await this.#recordRefused(request, error);
    this.#options.log.warn({ jobId, runId, code: error.code, error: error.message }, 'refused a job');
    const { tenantId, workflowVersionId, idempotencyKey } = request ?? {};
    const hasInput = request?.input !== undefined;
    await this.#options.deadLetters.add({
      id: `job-${jobId}`,
      kind: 'job',
      tenantId: tenantId ?? claimedTenant(job.data),
      runId,
      code: error.code,
      message: error.message,
      attempts: null,
      at: new Date().toISOString(),
      reference:
        tenantId === undefined || workflowVersionId === undefined || hasInput
          ? null
          : { tenantId, workflowVersionId, ...(idempotencyKey !== undefined && { idempotencyKey }) },
    });
    return refusal;
  }

  async #recordRefused(request: IntakeRequest, error: WormholeError): Promise<RunId | null> {
    // The run of an idempotency conflict is another request's.
    if (error.code === 'TENANT_NOT_FOUND' || error.code === 'IDEMPOTENCY_CONFLICT') return null;
    const reason: Reason = error.code === 'WORKFLOW_NOT_FOUND' ? 'WORKFLOW_NOT_FOUND' : 'INPUT_INVALID';
    const id = request.runId ?? newRunId();
    await insertRefusedRun(this.#options.pool, { ...request, id, reason, message: error.message });
    return id;
  }

  /** Takes no more jobs. Those that wait stay in the queue, for the next. */
  async close(): Promise<void> {
    await this.#worker?.close();
    this.#closing.abort(new Error('intake was closed'));
    await Promise.all(this.#waiting.values());
    await this.#queue.close();
  }
}

/** @returns whose a malformed job says it is, so that the tenant's letters can be found; no other value of it is kept. */
function claimedTenant(data: unknown): TenantId | null {
  if (typeof data !== 'object' || data === null || !('tenantId' in data)) return null;
  return tenantIdSchema.safeParse(data.tenantId).data ?? null;
}
