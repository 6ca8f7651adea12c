import type { Logger } from 'pino';
import { messageOf } from '../../errors.ts';
import type { TenantId } from '../../model/ids.ts';
import type { Observation, TenantAttempt } from '../types.ts';
import { orAbsent, orGone } from './absent.ts';
import type { ApiClient } from './api-client.ts';
import { AttemptView, exitOfVanished, type Tracked } from './attempt-view.ts';
import { selector } from './identity.ts';
import { jobExit } from './job-exit.ts';
import { jobName, jobPath } from './job-path.ts';
import { listAll } from './list-all.ts';
import { eventSchema, jobSchema, type Job, type KubeEvent } from './objects.ts';
import { PodWatch, type PodWatchOptions } from './pod-watch.ts';

export interface TenantRunsOptions extends Pick<PodWatchOptions, 'connectionMs' | 'relistMs'> {
  readonly api: Pick<ApiClient, 'send' | 'stream'>;
  readonly instance: string;
  readonly tenantId: TenantId;
  readonly namespace: string;
  readonly unschedulableTimeoutMs: number;
  readonly onObservation: (observation: Observation) => void;
  readonly log: Logger;
}

const TICK_MS = 500;
/** A look at the API server on behalf of somebody who waits takes no longer. */
const LOOK_MS = 10_000;
/**
 * A quota counts a pod that ended a moment longer than we do: a refusal counts when the Job controller's next tries,
 * 1 and 3 s after the first, failed too.
 */
const QUOTA_PATIENCE_MS = 5_000;
/** The cluster is asked no more often why pods are missing or wait, */
const ROUND_MS = 1_000;
/** and about no more Jobs at a time. */
const JOBS_PER_ROUND = 16;
/** A Job that has had no pod for this long is asked itself, even if nothing speaks against it. */
const LONG_MS = 4_000;
/** How often a Job is asked about what does not count at once. */
const DOUBT_MS = 1_000;
/** A Job notices that its pod is gone within a second or so. */
const NOTICE_MS = 5_000;

/** The runs in one tenant's namespace, watched through their pods; where there is no pod, the Job is asked. */
export class TenantRuns {
  readonly #options: TenantRunsOptions;
  readonly #view: AttemptView;
  readonly #watch: PodWatch;
  readonly #timer: NodeJS.Timeout;
  /** When the cluster may be asked again why pods are missing or wait, on our own clock. */
  #nextRoundMs = 0;
  /** When a Job was asked first about what does not count at once, on our own clock. */
  readonly #doubtful = new WeakMap<Tracked, number>();
  #usedAtMs = performance.now();

  constructor(options: TenantRunsOptions) {
    const { instance } = options;
    this.#options = options;
    this.#view = new AttemptView(options);
    this.#watch = new PodWatch({
      ...options,
      labelSelector: selector(instance, 'run'),
      onChange: (change) => this.#view.tell(change),
    });
    this.#timer = setInterval(() => {
      if (performance.now() >= this.#nextRoundMs) void this.#round();
    }, TICK_MS).unref();
  }

  get view(): AttemptView {
    return this.#view;
  }

  /** Says that it is in use, whatever it holds. */
  touch(): void {
    this.#usedAtMs = performance.now();
  }

  /** @returns whether it holds no attempt and was not used for `idleMs`. */
  isIdle(idleMs: number): boolean {
    return this.#view.size === 0 && performance.now() - this.#usedAtMs >= idleMs;
  }

  /** Resolves when the pods were listed since it was opened. @throws {Error} when that cannot be done now. */
  async synced(): Promise<void> {
    await this.#watch.synced(LOOK_MS);
  }

  /**
   * @returns what is known of the attempt, asked for if need be; undefined when there is neither Job nor pod.
   * @throws {Error} when that cannot be told now.
   */
  async find(ref: TenantAttempt): Promise<Tracked | undefined> {
    await this.synced();
    const known = this.#view.get(ref);
    if (known !== undefined) return known;
    const job = await this.#job(ref);
    if (job === undefined) {
      // The pod of a Job that is gone may have come since.
      await this.#watch.relist(LOOK_MS);
      return this.#view.get(ref);
    }
    const tracked = this.#view.expect(ref, job.metadata.uid);
    if (tracked.pod === undefined) {
      await this.#watch.relist(LOOK_MS);
      this.#judge(tracked, job, []);
    }
    return tracked;
  }

  async #round(): Promise<void> {
    const podless = this.#view.podless();
    const overdue = this.#view.overdue();
    if (podless.length + overdue.length === 0) return;
    this.#nextRoundMs = Infinity;
    try {
      if (overdue.length > 0) {
        // While nothing is told, a pod that waited may long have run.
        await this.#watch.relist(LOOK_MS);
        this.#view.giveUpOverdue();
      }
      if (podless.length > 0) await this.#ask(podless);
    } catch (error) {
      const { namespace, log } = this.#options;
      log.warn(
        { namespace, waiting: podless.length + overdue.length, error: messageOf(error) },
        'could not ask the cluster why runs do not start or end; asking again',
      );
    } finally {
      this.#nextRoundMs = performance.now() + ROUND_MS;
    }
  }

  /**
   * One look at the events tells of all pods that could not be created; a Job itself is asked when they mention it, when
   * its pod vanished, or when this takes long. However many wait, the API server is asked little.
   */
  async #ask(podless: readonly Tracked[]): Promise<void> {
    const refusals = await this.#refusals();
    const toAsk = podless
      .filter((t) => t.urgent || t.askAfterMs >= LONG_MS || refusals.has(t.jobUid))
      .slice(0, JOBS_PER_ROUND);
    const postponed = new Set(podless.filter((t) => t.askAfterMs < LONG_MS && !t.urgent));
    for (const tracked of new Set([...toAsk, ...postponed])) this.#view.asked(tracked);
    const jobs = await Promise.all(toAsk.map(({ ref }) => this.#job(ref)));
    // It made a pod, or makes one no more: whether we just do not see the pod, a list says.
    const mayHavePod = (job: Job | undefined): boolean =>
      job === undefined || job.status.active > 0 || job.status.conditions.length > 0;
    if (jobs.some(mayHavePod)) await this.#watch.relist(LOOK_MS);
    toAsk.forEach((tracked, index) => this.#judge(tracked, jobs[index], refusals.get(tracked.jobUid) ?? []));
  }

  #judge(tracked: Tracked, job: Job | undefined, refusals: readonly KubeEvent[]): void {
    if (tracked.pod !== undefined || tracked.exit !== undefined) return;
    const { vanished } = tracked;
    const byJob = jobExit(job, refusals, vanished !== undefined);
    const isCertain =
      byJob === undefined
        ? vanished !== undefined && this.#isPast(tracked, NOTICE_MS)
        : byJob.cause?.reason !== 'QUOTA_EXCEEDED' || this.#isPast(tracked, QUOTA_PATIENCE_MS);
    if (!isCertain) {
      if (byJob !== undefined || vanished !== undefined) this.#view.askSoon(tracked, DOUBT_MS);
      return;
    }
    const exit = exitOfVanished(tracked, byJob);
    if (exit !== undefined) this.#view.end(tracked, exit);
  }

  #isPast(tracked: Tracked, patienceMs: number): boolean {
    const since = this.#doubtful.get(tracked) ?? performance.now();
    this.#doubtful.set(tracked, since);
    return performance.now() - since >= patienceMs;
  }

  async #job(ref: TenantAttempt): Promise<Job | undefined> {
    const { api, namespace } = this.#options;
    const job = await orAbsent(api, namespace, api.send({ path: jobPath(namespace, jobName(ref)) }));
    return job === undefined ? undefined : jobSchema.parse(job);
  }

  /** @returns the events about pods that could not be created, by the uid of their Job. */
  async #refusals(): Promise<Map<string, KubeEvent[]>> {
    const { api, namespace } = this.#options;
    const fieldSelector = 'involvedObject.kind=Job,reason=FailedCreate';
    const path = `/api/v1/namespaces/${namespace}/events`;
    const found = await orGone(api, namespace, listAll(api, eventSchema, { path, query: { fieldSelector } }));
    return Map.groupBy(found?.items ?? [], (event) => event.involvedObject.uid);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#watch.close();
  }
}
