import type { Job } from 'bullmq';
import type pg from 'pg';
import type { Logger } from 'pino';
import { z } from 'zod';
import { WormholeError } from '../errors.ts';
import { newRunId, runIdSchema, tenantIdSchema, workflowVersionIdSchema } from '../model/ids.ts';
import { LIMITS } from '../model/limits.ts';
import type { Reason } from '../model/reasons.ts';
import { DEAD_LETTER_QUEUE, INTAKE_QUEUE } from '../queue/names.ts';
import type { Postponed, QueueServer, RunQueue, RunWorker } from '../queue/queue-server.ts';
import type { RunQueues } from '../queue/run-queues.ts';
import { insertRefusedRun } from '../store/runs.ts';
import { submitRun, type SubmitRequest } from './submit.ts';

/** What a plain BullMQ producer adds to `workflow_runs`; docs/configuration.md has it as a table. */
export const intakePayloadSchema = z.strictObject({
  tenantId: tenantIdSchema,
  workflowVersionId: workflowVersionIdSchema,
  input: z.unknown().optional(),
  idempotencyKey: z.string().max(255).optional(),
});

/** A job that could not be processed, as `dlq` keeps it: why, and where it came from. Never its payload's values. */
export interface DeadLetter {
  readonly queue: string;
  readonly jobId: string;
  readonly code: string;
  readonly message: string;
  /** The run that records it, where the tenant is known. */
  readonly runId: string | null;
  readonly at: string;
}

const CONCURRENCY = 8;

/**
 * Takes runs from the open queue `workflow_runs`: checks them, records them, and puts them into their tenant's
 * queue. A payload that is wrong ends in `dlq`, and as a FAILED run where its tenant can be told.
 */
export class Intake {
  readonly #pool: pg.Pool;
  readonly #queues: RunQueues;
  readonly #deadLetters: RunQueue<DeadLetter>;
  readonly #server: QueueServer;
  readonly #log: Logger;
  #worker: RunWorker | undefined;

  constructor(pool: pg.Pool, server: QueueServer, queues: RunQueues, log: Logger) {
    this.#pool = pool;
    this.#server = server;
    this.#queues = queues;
    this.#deadLetters = server.queue<DeadLetter>(DEAD_LETTER_QUEUE);
    this.#log = log;
  }

  async start(): Promise<void> {
    this.#worker = await this.#server.worker<unknown>(INTAKE_QUEUE, (job) => this.#process(job), CONCURRENCY);
  }

  async #process(job: Job<unknown>): Promise<Postponed | undefined> {
    const jobId = job.id ?? '';
    let request: SubmitRequest | undefined;
    try {
      request = requestOf(jobId, job.data);
      const { runId } = await submitRun(this.#pool, request);
      await this.#queues.enqueue(request.tenantId, runId);
    } catch (error) {
      if (!(error instanceof WormholeError)) throw error;
      if (error.retryAfterMs !== undefined) return { delayMs: error.retryAfterMs };
      await this.#refuse(jobId, request, error);
    }
    return undefined;
  }

  async #refuse(jobId: string, request: SubmitRequest | undefined, error: WormholeError): Promise<void> {
    const runId = request === undefined ? null : await this.#recordRefused(request, error);
    this.#log.warn({ jobId, runId, code: error.code, error: error.message }, 'refused a job');
    const letter: DeadLetter = {
      queue: INTAKE_QUEUE,
      jobId,
      code: error.code,
      message: error.message,
      runId,
      at: new Date().toISOString(),
    };
    await this.#deadLetters.add('refused', letter, { jobId: `refused-${jobId}` });
  }

  async #recordRefused(request: SubmitRequest, error: WormholeError): Promise<string | null> {
    if (error.code === 'TENANT_NOT_FOUND' || !('workflowVersionId' in request)) return null;
    const reason: Reason = error.code === 'WORKFLOW_NOT_FOUND' ? 'WORKFLOW_NOT_FOUND' : 'INPUT_INVALID';
    const id = request.runId ?? newRunId();
    await insertRefusedRun(this.#pool, { ...request, id, reason, message: error.message });
    return id;
  }

  async close(): Promise<void> {
    await this.#worker?.close();
    await this.#deadLetters.close();
  }
}

/** The job's id makes its delivery idempotent: as the run's id if it is a UUID, else within the idempotency key. */
function requestOf(jobId: string, data: unknown): SubmitRequest {
  const parsed = intakePayloadSchema.safeParse(data);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const where = issue?.path.join('.') || 'the payload';
    throw new WormholeError(
      'PAYLOAD_INVALID',
      `${where}: ${issue?.message ?? 'is wrong'}`.slice(0, LIMITS.logMessageBytes),
    );
  }
  const runId = runIdSchema.safeParse(jobId);
  return {
    ...parsed.data,
    input: parsed.data.input,
    ...(runId.success
      ? { runId: runId.data }
      : { idempotencyKey: parsed.data.idempotencyKey ?? `${INTAKE_QUEUE}/${jobId}` }),
  };
}
