import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { ANNOTATIONS } from '../../../lib/labels.ts';
import { BackendError } from '../../errors.ts';
import type { ApiClient } from './api-client.ts';
import { ApiError, existing } from './api-error.ts';
import { identityLabels } from './identity.ts';
import { jobPath } from './job-path.ts';
import { jobSchema, type Job } from './objects.ts';
import type { RunManifest } from './run-manifest.ts';
import type { TenantAttempt } from '../types.ts';

export interface CreateJobOptions {
  readonly api: Pick<ApiClient, 'send'>;
  readonly instance: string;
  readonly log: Logger;
}

/** Rights that an API server does not know this long after its start are not there. */
const RIGHTS_MS = 2_000;
const CONFLICT = 409;
/** A create that was not answered is tried again for this long: longer than an API server takes to restart. */
const TRIES_MS = 8_000;
const POST_MS = 4_000;
const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 1_600;

/**
 * Creates the attempt's Job: one POST. One that got no answer, or that the API server was too busy for, is repeated;
 * the name decides that there is one Job all the same.
 * @returns the Job, and whether it was there before.
 * @throws {ApiError} when it cannot be created.
 * @throws {BackendError} when the name is taken by something that is not this attempt's Job, or that is being deleted.
 */
export async function createJob(
  ref: TenantAttempt,
  namespace: string,
  manifest: RunManifest,
  { api, instance, log }: CreateJobOptions,
): Promise<{ readonly job: Job; readonly existed: boolean }> {
  const giveUpAt = performance.now() + TRIES_MS;
  let lacksRightsFrom = Infinity;
  for (let retryMs = FIRST_RETRY_MS; ; retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS)) {
    try {
      const created = await posted();
      if (created !== undefined) return { job: jobSchema.parse(created), existed: false };
      const found = await existing(api.send({ path: jobPath(namespace, manifest.metadata.name) }));
      if (found !== undefined)
        return { job: recognised(ref, jobSchema.parse(found), manifest), existed: true };
      // Somebody is just deleting it: once it is gone, the name is free.
      if (performance.now() + retryMs >= giveUpAt) throw taken();
    } catch (error) {
      if (error instanceof BackendError) {
        log.error(
          { runId: ref.runId, attempt: ref.attempt, namespace, error: error.message },
          'a Job is not ours',
        );
      }
      const waitMs = error instanceof ApiError ? (error.retryAfterMs ?? 0) : 0;
      const now = performance.now();
      const lacksRights = error instanceof ApiError && error.lacksRights;
      if (lacksRights) lacksRightsFrom = Math.min(lacksRightsFrom, now);
      const mayTry = lacksRights
        ? now - lacksRightsFrom < RIGHTS_MS
        : error instanceof ApiError && (error.transient || error.status === CONFLICT);
      if (!mayTry || now + Math.max(retryMs, waitMs) >= giveUpAt) throw error;
      await delay(waitMs);
    }
    await delay(retryMs * (0.5 + Math.random() / 2));
  }

  /** @returns undefined when there is a Job of this name. Other conflicts, e.g. two that count in one quota, are passed on. */
  async function posted(): Promise<unknown> {
    try {
      const path = jobPath(namespace);
      return await api.send({ method: 'POST', path, body: manifest, timeoutMs: POST_MS });
    } catch (error) {
      const exists =
        error instanceof ApiError && error.status === CONFLICT && error.reason === 'AlreadyExists';
      if (exists) return undefined;
      throw error;
    }
  }

  function taken(): BackendError {
    return new BackendError(
      'UNSCHEDULABLE',
      `run ${ref.runId}, attempt ${ref.attempt}: the API server says that there is a Job "${manifest.metadata.name}" in namespace "${namespace}", and does not show it; is it being deleted?`,
      { retryable: true },
    );
  }

  function recognised({ runId, attempt }: TenantAttempt, job: Job, wanted: RunManifest): Job {
    const { labels, annotations } = job.metadata;
    const isOurs =
      Object.entries(identityLabels(instance, ref)).every(([key, value]) => labels[key] === value) &&
      annotations[ANNOTATIONS.spec] === wanted.metadata.annotations[ANNOTATIONS.spec];
    if (isOurs) return job;
    throw new BackendError(
      'ADMISSION_DENIED',
      `run ${runId}, attempt ${attempt}: the Job "${wanted.metadata.name}" in namespace "${namespace}" was made by somebody else, or from other settings (annotation ${ANNOTATIONS.spec}): find out by whom before you delete it`,
      { retryable: false },
    );
  }
}
