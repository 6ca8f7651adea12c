import { setTimeout as delay } from 'node:timers/promises';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import type pg from 'pg';
import type { Client } from '../../controller/client.ts';
import { messageOf, WormholeError } from '../../controller/errors.ts';
import type { RunId, TenantId } from '../../controller/model/ids.ts';
import { INTAKE_QUEUE } from '../../controller/queue/names.ts';
import type { Journal, Submission } from './journal.ts';
import type { Random } from './random.ts';
import { within } from './within.ts';
import { definitionOf, WORKFLOWS, type WorkflowName } from './workflows.ts';

/** So many runs wait at a time: enough that every slot is wanted, few enough that they end soon once the load does. */
const WAITING = 14;
const LONGEST_PAUSE_MS = 400;
const LONGEST_WORK_MS = 2_500;
const CALL_MS = 15_000;
const RETRY_MS = 500;
const OUTBOX_MS = 2_000;
const CANCELED = 0.08;
const SENT_TWICE = 0.15;
const LONGEST_AFTERTHOUGHT_MS = 4_000;

export interface LoadOptions {
  readonly journal: Journal;
  readonly client: Client;
  readonly pool: pg.Pool;
  readonly redisUrl: string;
  readonly tenants: readonly string[];
  /** The stored versions, by tenant and workflow. */
  readonly versions: ReadonlyMap<string, string>;
  readonly random: Random;
  /** How many runs are QUEUED now, as far as anybody knows. */
  readonly queued: () => number;
  readonly log: (message: string) => void;
}

/** @returns the name of a tenant's workflow in {@link LoadOptions.versions}. */
export const versionName = (tenantId: string, workflow: WorkflowName): string => `${tenantId}/${workflow}`;

/**
 * Producers that never give up: each run is sent until it was acknowledged, always with the same idempotency key. Half go
 * through the client library, half are jobs of plain BullMQ. A job that Redis acknowledged and was then made to forget,
 * before intake had it, nobody can recover but its producer: so these have an outbox, and add again what they find
 * missing in the record after a FLUSHALL, and only then, or a job that was lost otherwise would go unnoticed.
 */
export class Load {
  readonly #options: LoadOptions;
  readonly #redis: Redis;
  readonly #queue: Queue;
  readonly #stopping = new AbortController();
  readonly #givingUp = new AbortController();
  readonly #loops: Promise<void>[] = [];
  readonly #submissions = new Set<Promise<void>>();
  /** In which epoch of Redis a job was added last; flushing it begins another. */
  readonly #epochs = new Map<Submission, number>();
  #epoch = 0;
  #unacknowledged = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
    // One that cannot be reached is told at once: the producer tries again.
    this.#redis = new Redis(options.redisUrl, { maxRetriesPerRequest: 1 });
    this.#redis.on('error', () => undefined);
    this.#queue = new Queue(INTAKE_QUEUE, { connection: this.#redis });
    this.#queue.on('error', () => undefined);
  }

  /** Begins to submit, and goes on until `stop`. */
  start(): void {
    this.#loops.push(this.#until(this.#submitAll()), this.#until(this.#workOutbox()));
  }

  /** What was added to Redis until now may be gone. */
  redisWasFlushed(): void {
    this.#epoch += 1;
  }

  /** Submits nothing new; what was begun goes on until `close`. */
  stop(): void {
    this.#stopping.abort();
  }

  /** Whether all that was begun is done, duplicates, cancellations and the outbox included. */
  get isSettled(): boolean {
    return this.#submissions.size === 0 && this.#doubtful().length === 0;
  }

  /** Gives up what was begun. */
  async close(): Promise<void> {
    this.stop();
    this.#givingUp.abort();
    await Promise.all([...this.#loops, ...this.#submissions]);
    await this.#queue.close();
    this.#redis.disconnect();
  }

  /** Resolves when the work is done or was given up. */
  async #until(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      if (!this.#givingUp.signal.aborted) throw error;
    }
  }

  async #submitAll(): Promise<void> {
    const { random, queued } = this.#options;
    while (!this.#stopping.signal.aborted) {
      await this.#pause(random.between(0, LONGEST_PAUSE_MS));
      if (queued() + this.#unacknowledged < WAITING) this.#submit();
    }
  }

  #submit(): void {
    const { journal, random, tenants } = this.#options;
    const submission = journal.add({
      tenantId: random.pick(tenants) ?? '',
      workflow: random.pick(WORKFLOWS) ?? 'once',
      ms: random.between(50, LONGEST_WORK_MS),
      by: random.chance(0.5) ? 'client' : 'queue',
      isAcknowledged: false,
      isCancelRequested: false,
    });
    const running = this.#until(
      this.#lead(submission, {
        isCanceled: random.chance(CANCELED),
        isSentTwice: random.chance(SENT_TWICE),
        afterMs: random.between(0, LONGEST_AFTERTHOUGHT_MS),
      }),
    );
    this.#submissions.add(running);
    void running.finally(() => this.#submissions.delete(running));
  }

  /** Sends it until it is acknowledged, and then does to it what else was decided. */
  async #lead(
    submission: Submission,
    then: { readonly isCanceled: boolean; readonly isSentTwice: boolean; readonly afterMs: number },
  ): Promise<void> {
    this.#unacknowledged += 1;
    await this.#send(submission, submission.by);
    submission.isAcknowledged = true;
    this.#unacknowledged -= 1;
    if (!then.isCanceled && !then.isSentTwice) return;
    await this.#pause(then.afterMs);
    if (then.isCanceled) await this.#cancel(submission);
    if (!then.isSentTwice) return;
    this.#options.journal.duplicates += 1;
    await this.#send(submission, submission.by === 'client' ? 'queue' : 'client');
  }

  async #send(submission: Submission, by: Submission['by']): Promise<void> {
    await this.#untilDone(`${submission.marker} by ${by}`, async () => {
      if (by === 'queue') await this.#addJob(submission);
      else submission.toldRunIds.add(await this.#callClient(submission));
    });
  }

  async #callClient({ tenantId, workflow, input, idempotencyKey }: Submission): Promise<RunId> {
    const definition = definitionOf(workflow);
    const { runId } = await this.#options.client.submit({
      ...{ tenantId: tenantId as TenantId, definition, input, idempotencyKey },
    });
    return runId;
  }

  async #addJob(submission: Submission): Promise<void> {
    const { tenantId, workflow, input, idempotencyKey } = submission;
    this.#epochs.set(submission, this.#epoch);
    const workflowVersionId = this.#options.versions.get(versionName(tenantId, workflow));
    await this.#queue.add(
      'run',
      { tenantId, workflowVersionId, input, idempotencyKey },
      { jobId: idempotencyKey },
    );
  }

  /** Cancels the run, if it is there: one that still waits at the door is not. */
  async #cancel(submission: Submission): Promise<void> {
    const { client, pool } = this.#options;
    await this.#untilDone(`canceling ${submission.marker}`, async () => {
      const { rows } = await pool.query<{ id: RunId }>(
        'SELECT id FROM workflow_runs WHERE tenant_id = $1 AND idempotency_key = $2',
        [submission.tenantId, submission.idempotencyKey],
      );
      const runId = rows[0]?.id;
      if (runId === undefined) return;
      submission.isCancelRequested = true;
      await client.cancel(runId).catch((error: unknown) => {
        if (!(error instanceof WormholeError && error.code === 'RUN_ALREADY_ENDED')) throw error;
      });
    });
  }

  async #workOutbox(): Promise<void> {
    const { pool, journal, log } = this.#options;
    for (;;) {
      await this.#pause(OUTBOX_MS);
      const doubtful = this.#doubtful();
      if (doubtful.length === 0) continue;
      try {
        const { rows } = await pool.query<{ key: string }>(
          'SELECT idempotency_key AS key FROM workflow_runs WHERE idempotency_key = ANY ($1)',
          [doubtful.map(({ idempotencyKey }) => idempotencyKey)],
        );
        const recorded = new Set(rows.map(({ key }) => key));
        for (const submission of doubtful) {
          if (recorded.has(submission.idempotencyKey)) this.#epochs.delete(submission);
          else {
            await this.#addJob(submission);
            journal.resent += 1;
          }
        }
      } catch (error) {
        log(`outbox: ${messageOf(error)}`);
      }
    }
  }

  /** @returns what was added before Redis was flushed last, and has not been found in the record since. */
  #doubtful(): Submission[] {
    return [...this.#epochs].filter(([, epoch]) => epoch < this.#epoch).map(([submission]) => submission);
  }

  /** Tries until it works, as long as it takes. */
  async #untilDone(what: string, work: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        await within(CALL_MS, what, work());
        return;
      } catch (error) {
        const retryAfterMs = error instanceof WormholeError ? error.retryAfterMs : undefined;
        if (retryAfterMs === undefined) this.#options.log(`${what}: ${messageOf(error)}`);
        await this.#pause(retryAfterMs ?? RETRY_MS);
      }
    }
  }

  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#givingUp.signal });
  }
}
