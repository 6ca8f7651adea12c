import type { Job } from 'bullmq';
import { z } from 'zod';
import {
  runIdSchema,
  tenantIdSchema,
  workflowVersionIdSchema,
  type AttemptRef,
  type TenantId,
} from '../model/ids.ts';
import type { Verdict } from '../model/verdict.ts';
import { DEAD_LETTER_QUEUE } from '../queue/names.ts';
import type { QueueServer, JobQueue } from '../queue/queue-server.ts';

/** The ids that make a run: safe to keep, unlike its input. */
const referenceSchema = z.object({
  tenantId: tenantIdSchema,
  workflowVersionId: workflowVersionIdSchema,
  idempotencyKey: z.string().optional(),
});

const deadLetterSchema = z.object({
  id: z.string(),
  /** `run`: a run whose attempts all failed for the infrastructure. `job`: a job of `workflow_runs` that was refused. */
  kind: z.enum(['run', 'job']),
  /** Null where a refused job did not say whose it is. */
  tenantId: tenantIdSchema.nullable(),
  /** The FAILED run that records it; null for a refused job whose tenant or workflow version cannot be told. */
  runId: runIdSchema.nullable(),
  /** The run's reason, or the error's code. */
  code: z.string(),
  message: z.string(),
  /** Of a run: how many were made. */
  attempts: z.int().nullable(),
  at: z.iso.datetime(),
  /** Of a refused job without an input: what it asked for, so that it can be tried again. */
  reference: referenceSchema.nullable(),
});
/** What could not be processed, and why. Never a payload: that may hold secrets. */
export type DeadLetter = z.infer<typeof deadLetterSchema>;

/** How an attempt ended, as the supervisor tells it. */
export interface EndedAttempt extends AttemptRef {
  readonly tenantId: TenantId;
  readonly verdict: Verdict;
  /** Whether the run has ended with it. */
  readonly final: boolean;
}

/**
 * @returns the dead letter of a run that ended because the infrastructure failed it, not its workflow; undefined for any
 *   other end.
 */
export function deadLetterOf({
  runId,
  tenantId,
  attempt,
  verdict,
  final,
}: EndedAttempt): DeadLetter | undefined {
  const { reason, message, infrastructure } = verdict;
  const undone = infrastructure || reason === 'RETRIES_EXHAUSTED' || reason === 'ADMISSION_DENIED';
  if (!final || reason === null || !undone) return undefined;
  return {
    id: `run-${runId}`,
    kind: 'run',
    tenantId,
    runId,
    code: reason,
    message: message ?? '',
    attempts: attempt,
    at: new Date().toISOString(),
    reference: null,
  };
}

/** Letters are kept this long, and no more of them than this: the oldest go first. */
const KEPT = { days: 30, letters: 10_000 };
const DAY_MS = 24 * 60 * 60 * 1000;
/** So often at most a process looks for letters that have to go. */
const SWEEP_MS = 60_000;
const PAGE = 500;

/** The queue `dlq`: nobody works on it, people look at it. */
export class DeadLetters {
  readonly #queue: JobQueue<unknown>;
  #sweptAtMs = -Infinity;

  constructor(server: QueueServer) {
    this.#queue = server.queue<unknown>(DEAD_LETTER_QUEUE);
  }

  /** Keeps the letter; one with its id that is there already stays as it is. */
  async add(letter: DeadLetter): Promise<void> {
    await this.#queue.add('letter', letter, { jobId: letter.id });
    if (performance.now() - this.#sweptAtMs < SWEEP_MS) return;
    this.#sweptAtMs = performance.now();
    await this.#sweep();
  }

  async #sweep(): Promise<void> {
    await this.#queue.clean(KEPT.days * DAY_MS, 0, 'wait');
    for (let excess = await this.#excess(); excess > 0; excess = await this.#excess()) {
      const oldest = await this.#queue.getJobs('waiting', 0, Math.min(excess, PAGE) - 1, true);
      if (oldest.length === 0) return;
      await Promise.all(oldest.map((job) => job.remove()));
    }
  }

  async #excess(): Promise<number> {
    const { waiting = 0 } = await this.#queue.getJobCounts('waiting');
    return waiting - KEPT.letters;
  }

  /** @returns letters, newest first. */
  async list(filter: {
    readonly tenantId?: TenantId | undefined;
    readonly limit: number;
  }): Promise<DeadLetter[]> {
    const found: DeadLetter[] = [];
    for (let from = 0; found.length < filter.limit; from += PAGE) {
      const jobs = await this.#queue.getJobs('waiting', from, from + PAGE - 1, false);
      const letters = jobs.map(letterOf).filter((letter) => letter !== undefined);
      found.push(
        ...letters.filter(({ tenantId }) => filter.tenantId === undefined || tenantId === filter.tenantId),
      );
      if (jobs.length < PAGE) break;
    }
    return found.slice(0, filter.limit);
  }

  /** @returns the letter, or undefined. */
  async find(id: string): Promise<DeadLetter | undefined> {
    const job = await this.#queue.getJob(id);
    return job && letterOf(job);
  }

  /** @returns whether there was such a letter. */
  async remove(id: string): Promise<boolean> {
    const job = await this.#queue.getJob(id);
    // What `remove` answers for a job that is not there differs between the servers.
    await job?.remove();
    return job !== undefined;
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }
}

/** Anybody can add to the queue: what is no letter of ours is not shown. */
const letterOf = (job: Pick<Job<unknown>, 'data'>): DeadLetter | undefined =>
  deadLetterSchema.safeParse(job.data).data;
