import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { BackendError, messageOf } from '../../errors.ts';
import type { TenantId } from '../../model/ids.ts';
import type { AttemptSpec, Backend, BackendAttempt, Observation, TenantAttempt } from '../types.ts';
import { orAbsent } from './absent.ts';
import type { ApiClient } from './api-client.ts';
import { accepting, existing } from './api-error.ts';
import { asAttempt } from './attempt-view.ts';
import { createJob } from './create-job.ts';
import { InFlight } from './in-flight.ts';
import { jobName, jobPath, podPath } from './job-path.ts';
import { Observers } from './observers.ts';
import { Overstayed } from './overstayed.ts';
import { isBound, isFinished } from './pod-exit.ts';
import { runManifest, type RunManifestOptions } from './run-manifest.ts';
import { startError } from './start-error.ts';
import { isFinishedJob, survey } from './survey.ts';
import { TenantRuns, type TenantRunsOptions } from './tenant-runs.ts';

export interface KubernetesBackendOptions
  extends
    Omit<RunManifestOptions, 'gateway' | 'hosts'>,
    Pick<TenantRunsOptions, 'unschedulableTimeoutMs' | 'connectionMs' | 'relistMs'> {
  readonly api: ApiClient;
  /** A tenant's namespace is `<prefix>-<tenant id>`. */
  readonly tenantNamespacePrefix: string;
  readonly gateway: {
    readonly url: string;
    readonly audience: string;
    /** The certificate authorities in PEM that runs are to trust; read at each start, because they rotate. */
    readonly ca: () => string;
  };
  /** The names that runs can resolve and their addresses, e.g. `serviceHosts`. */
  readonly hosts: () => Promise<Readonly<Record<string, string>>>;
  readonly log: Logger;
}

/**
 * Of a burst of a thousand runs each would make a connection, and most creates would be given up unanswered. An API
 * server with two cores is as fast with this many.
 */
const CREATES_IN_FLIGHT = 32;
const SWEEP_MS = 5 * 60 * 1000;
const IDLE_MS = 30_000;
const TIDY_MS = 10_000;
const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 5_000;

/**
 * Runs each attempt as one Job in its tenant's namespace: one write to the API server, the rest is the cluster's. What
 * becomes of it is told by its pod. Namespaces are watched only while they hold runs.
 */
export class KubernetesBackend implements Backend {
  readonly name = 'kubernetes';
  readonly claimProof = 'pod';
  readonly #options: KubernetesBackendOptions;
  readonly #observers = new Observers();
  readonly #tenants = new Map<TenantId, TenantRuns>();
  readonly #overstayed = new Overstayed();
  readonly #closed = new AbortController();
  readonly #creating = new InFlight(CREATES_IN_FLIGHT);
  #surveyed: Promise<void> | undefined;
  #tidying: NodeJS.Timeout | undefined;
  #sweeping: Promise<void> | undefined;

  constructor(options: KubernetesBackendOptions) {
    this.#options = options;
  }

  async start(spec: AttemptSpec): Promise<BackendAttempt> {
    const namespace = this.#namespaceOf(spec.tenantId);
    const what = `run ${spec.runId}, attempt ${spec.attempt}, in namespace "${namespace}"`;
    try {
      // Before the Job is there: nothing of it is missed.
      const runs = this.#runsOf(spec.tenantId);
      const { job, existed } = await this.#creating.run(() => this.#create(spec, namespace));
      const tracked = runs.view.expect(spec, job.metadata.uid);
      return asAttempt(existed ? ((await runs.find(spec)) ?? tracked) : tracked);
    } catch (error) {
      throw startError(error, what);
    }
  }

  async #create(spec: AttemptSpec, namespace: string): ReturnType<typeof createJob> {
    const { gateway, hosts } = this.#options;
    const manifest = runManifest(spec, namespace, {
      ...this.#options,
      gateway: { ...gateway, ca: gateway.ca() },
      hosts: await hosts(),
    });
    return await createJob(spec, namespace, manifest, this.#options);
  }

  adopt(ref: TenantAttempt): Promise<void> {
    this.#runsOf(ref.tenantId);
    return Promise.resolve();
  }

  async stop(ref: TenantAttempt, options: { readonly graceMs: number }): Promise<void> {
    const runs = this.#runsOf(ref.tenantId);
    const tracked = await runs.find(ref);
    const pod = tracked?.pod;
    if (tracked === undefined || (pod !== undefined && isFinished(pod))) return;
    if (pod === undefined || !isBound(pod)) {
      // No kubelet would end it, and a pod by itself would wait for the garbage collector.
      await this.#deleteJob(ref);
      runs.view.askSoon(tracked);
      return;
    }
    await this.#deletePod(ref, pod.metadata, options.graceMs);
  }

  async remove(ref: TenantAttempt): Promise<void> {
    const runs = this.#runsOf(ref.tenantId);
    const pod = runs.view.get(ref)?.pod;
    // Its Job ends by itself, and is removed by its TTL.
    const endsByItself = pod !== undefined && isFinished(pod);
    if (!endsByItself) {
      const deleted = await this.#deleteJob(ref);
      // Whose Job was deleted without it.
      if (!deleted && pod !== undefined) await this.#deletePod(ref, pod.metadata, 0);
    }
    runs.view.remove(ref);
  }

  async find(ref: TenantAttempt): Promise<BackendAttempt | undefined> {
    const tracked = await this.#runsOf(ref.tenantId).find(ref);
    return tracked && asAttempt(tracked);
  }

  async list(): Promise<BackendAttempt[]> {
    await this.#survey();
    return [...this.#tenants.values()].flatMap((runs) => runs.view.list());
  }

  async *observe(signal: AbortSignal): AsyncGenerator<Observation, void, undefined> {
    void this.#surveyUntilDone(AbortSignal.any([signal, this.#closed.signal]));
    yield* this.#observers.listen(signal, (hear) => {
      for (const runs of this.#tenants.values()) runs.view.replay(hear);
    });
  }

  /** Drops all connections. What runs goes on. */
  async close(): Promise<void> {
    this.#closed.abort();
    clearInterval(this.#tidying);
    await this.#sweeping;
    await Promise.all([...this.#tenants.values()].map((runs) => runs.close()));
    this.#tenants.clear();
  }

  /** Finds what a controller before us started: once, at the first need. */
  async #survey(): Promise<void> {
    this.#surveyed ??= this.#takeStock(true);
    try {
      await this.#surveyed;
    } catch (error) {
      this.#surveyed = undefined;
      throw error;
    }
  }

  async #surveyUntilDone(signal: AbortSignal): Promise<void> {
    const isOver = (): boolean => signal.aborted;
    for (let waitMs = FIRST_RETRY_MS; !isOver(); waitMs = Math.min(waitMs * 2, LONGEST_RETRY_MS)) {
      try {
        await this.#survey();
        return;
      } catch (error) {
        if (isOver()) return;
        this.#options.log.warn({ error: messageOf(error) }, 'could not look for runs in the cluster yet');
        await delay(waitMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  /**
   * Takes into view all Jobs and pods of runs that are not in it.
   * @param withFinished also Jobs that have finished: their end may not have been recorded yet.
   */
  async #takeStock(withFinished: boolean): Promise<void> {
    const { api, instance, log } = this.#options;
    const tenants = await survey(api, instance, (tenantId) => this.#namespaceOf(tenantId));
    const watched = tenants.flatMap(({ tenantId, jobs, pods }) => {
      const wanted = jobs.filter(({ job }) => withFinished || !isFinishedJob(job));
      if (wanted.length === 0 && pods.length === 0) return [];
      const runs = this.#runsOf(tenantId);
      for (const { ref, job } of wanted) runs.view.expect(ref, job.metadata.uid);
      return [runs.synced()];
    });
    await Promise.all(watched);
    const jobs = tenants.flatMap((tenant) => tenant.jobs);
    const overstayed = new Set(this.#overstayed.among(jobs.map(({ job }) => job)));
    for (const { ref } of jobs.filter(({ job }) => overstayed.has(job))) {
      log.warn(
        { runId: ref.runId, attempt: ref.attempt },
        'deleting a Job that should have been gone long ago',
      );
      await this.#deleteJob(ref);
    }
    this.#tidying ??= this.#keepTidy();
  }

  #keepTidy(): NodeJS.Timeout {
    let sweepAtMs = performance.now() + SWEEP_MS;
    return setInterval(() => {
      for (const [tenantId, runs] of this.#tenants) {
        if (!runs.isIdle(IDLE_MS)) continue;
        this.#tenants.delete(tenantId);
        void runs.close();
      }
      if (performance.now() < sweepAtMs) return;
      sweepAtMs = performance.now() + SWEEP_MS * (0.75 + Math.random() / 2);
      this.#sweeping = this.#takeStock(false).catch((error: unknown) => {
        this.#options.log.warn(
          { error: messageOf(error) },
          'could not sweep the cluster; trying again later',
        );
      });
    }, TIDY_MS).unref();
  }

  #namespaceOf(tenantId: TenantId): string {
    return `${this.#options.tenantNamespacePrefix}-${tenantId}`;
  }

  #runsOf(tenantId: TenantId): TenantRuns {
    if (this.#closed.signal.aborted) {
      throw new BackendError('RUNNER_LOST', 'the Kubernetes backend is closed', { retryable: true });
    }
    const runs =
      this.#tenants.get(tenantId) ??
      new TenantRuns({
        ...this.#options,
        tenantId,
        namespace: this.#namespaceOf(tenantId),
        onObservation: (observation) => this.#observers.tell(observation),
      });
    this.#tenants.set(tenantId, runs);
    runs.touch();
    return runs;
  }

  /** @returns whether there was a Job. Its pod follows. */
  async #deleteJob(ref: TenantAttempt): Promise<boolean> {
    const { api } = this.#options;
    const namespace = this.#namespaceOf(ref.tenantId);
    const path = jobPath(namespace, jobName(ref));
    const body = { propagationPolicy: 'Background' };
    return (await orAbsent(api, namespace, api.send({ method: 'DELETE', path, body }))) !== undefined;
  }

  /** 409: another pod has its name by now. */
  async #deletePod(
    ref: TenantAttempt,
    { name, uid }: { readonly name: string; readonly uid: string },
    graceMs: number,
  ): Promise<void> {
    const path = podPath(this.#namespaceOf(ref.tenantId), name);
    // Never 0: that would mean not to wait for the kubelet to say that it has ended.
    const gracePeriodSeconds = Math.max(1, Math.ceil(graceMs / 1000));
    const body = { gracePeriodSeconds, preconditions: { uid } };
    await accepting([409], existing(this.#options.api.send({ method: 'DELETE', path, body })));
  }
}
