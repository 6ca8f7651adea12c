import { EventEmitter, once } from 'node:events';
import { z } from 'zod';
import type { ApiClient } from '../controller/backends/kubernetes/api-client.ts';
import { LABELS, MANAGED_BY } from '../controller/model/labels.ts';
import { now } from './now.ts';

/** When a watch first told what of a Job and its pod, in milliseconds since the epoch, with fractions. */
export interface JobTimes {
  /** There is a pod. */
  readonly podCreated: number;
  /** It has a node. */
  readonly scheduled: number;
  /** Its container has ended. */
  readonly terminated: number;
  /** The Job says so too. */
  readonly complete: number;
}

const JOB_OF_POD = 'batch.kubernetes.io/job-name';

const podSchema = z.object({
  metadata: z.object({ labels: z.looseObject({ [JOB_OF_POD]: z.string() }) }),
  spec: z.object({ nodeName: z.string().optional() }),
  status: z.object({
    containerStatuses: z
      .array(z.object({ state: z.object({ terminated: z.object({ exitCode: z.number() }).optional() }) }))
      .default([]),
  }),
});
const jobSchema = z.object({
  metadata: z.object({ name: z.string() }),
  status: z.object({
    conditions: z.array(z.object({ type: z.string(), status: z.string() })).default([]),
  }),
});
const eventSchema = z.object({ type: z.enum(['ADDED', 'MODIFIED', 'DELETED']), object: z.unknown() });

/** Writes down what an API server says about the Jobs and pods of runs, in all namespaces: two bare watches. */
export class ClusterTimeline {
  readonly #jobs = new Map<string, Partial<JobTimes>>();
  readonly #changed = new EventEmitter();
  readonly #over = new AbortController();
  #isLost = false;

  constructor(api: ApiClient) {
    const follow = (path: string, see: (object: unknown) => void): void => {
      // Who waits for a Job hears that a watch was lost.
      this.#follow(api, path, see).catch(() => undefined);
    };
    follow('/api/v1/pods', (pod) => this.#seePod(pod));
    follow('/apis/batch/v1/jobs', (job) => this.#seeJob(job));
  }

  /** Resolves as soon as the container of a Job has ended. @throws when a watch is lost; the signal's reason. */
  async terminated(job: string, signal: AbortSignal): Promise<number> {
    return (await this.#until(job, 'terminated', signal)).terminated;
  }

  /** Resolves with all times of a Job as soon as it is complete. @throws as `terminated`. */
  async whole(job: string, signal: AbortSignal): Promise<JobTimes> {
    await this.#until(job, 'terminated', signal);
    return (await this.#until(job, 'complete', signal)) as JobTimes;
  }

  /** Stops watching. */
  close(): void {
    this.#over.abort();
  }

  async #until<K extends keyof JobTimes>(
    job: string,
    time: K,
    signal: AbortSignal,
  ): Promise<Partial<JobTimes> & Record<K, number>> {
    while (!this.#isLost) {
      const times = this.#jobs.get(job);
      if (times?.[time] !== undefined) return times as Partial<JobTimes> & Record<K, number>;
      await once(this.#changed, 'change', { signal });
    }
    throw new Error('a watch of the API server ended early, so nothing can be measured by it');
  }

  async #follow(api: ApiClient, path: string, see: (object: unknown) => void): Promise<void> {
    const query = { watch: true, labelSelector: `${LABELS.managedBy}=${MANAGED_BY},${LABELS.component}=run` };
    try {
      for await (const event of api.stream({ path, query, signal: this.#over.signal })) {
        see(eventSchema.parse(event).object);
        this.#changed.emit('change');
      }
    } finally {
      this.#isLost = true;
      this.#changed.emit('change');
    }
  }

  #seePod(object: unknown): void {
    const { metadata, spec, status } = podSchema.parse(object);
    const hasEnded = status.containerStatuses.some(({ state }) => state.terminated !== undefined);
    this.#see(metadata.labels[JOB_OF_POD], {
      podCreated: now(),
      ...(spec.nodeName !== undefined && { scheduled: now() }),
      ...(hasEnded && { terminated: now() }),
    });
  }

  #seeJob(object: unknown): void {
    const { metadata, status } = jobSchema.parse(object);
    const isComplete = status.conditions.some(
      ({ type, status }) => ['Complete', 'Failed'].includes(type) && status === 'True',
    );
    if (isComplete) this.#see(metadata.name, { complete: now() });
  }

  #see(job: string, times: Partial<JobTimes>): void {
    // What was told first stands.
    this.#jobs.set(job, { ...times, ...this.#jobs.get(job) });
  }
}
