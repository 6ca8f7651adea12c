import type { TenantId } from '../../model/ids.ts';
import { LABELS } from '../../model/labels.ts';
import { identityOf } from '../attempt-labels.ts';
import type { TenantAttempt } from '../types.ts';
import type { ApiClient } from './api-client.ts';
import { accepting } from './api-error.ts';
import { selector } from './identity.ts';
import { jobPath } from './job-path.ts';
import { listAll } from './list-all.ts';
import { retryTransient } from './retry-transient.ts';
import { holds, jobSchema, namespaceSchema, podSchema, type Job } from './objects.ts';

/** What there is in one tenant's namespace. */
export interface TenantSurvey {
  readonly tenantId: TenantId;
  readonly namespace: string;
  readonly jobs: readonly { readonly ref: TenantAttempt; readonly job: Job }[];
  /** Attempts that have a pod. */
  readonly pods: readonly TenantAttempt[];
}

const AT_ONCE = 8;

/** @returns whether Kubernetes regards the Job as finished, so that its TTL runs. */
export const isFinishedJob = ({ status }: Job): boolean =>
  holds(status.conditions, 'Complete') !== undefined || holds(status.conditions, 'Failed') !== undefined;

/**
 * Looks through the namespaces of all tenants of an instance for the Jobs and pods of runs.
 * @throws {ApiError} when one of them cannot be looked through: half a survey would pass for all there is.
 */
export async function survey(
  api: Pick<ApiClient, 'send'>,
  instance: string,
  namespaceOf: (tenantId: TenantId) => string,
): Promise<TenantSurvey[]> {
  const query = { labelSelector: selector(instance, 'tenant') };
  const { items } = await retryTransient(() =>
    listAll(api, namespaceSchema, { path: '/api/v1/namespaces', query }),
  );
  const tenants = items
    .map(({ metadata }) => ({
      namespace: metadata.name,
      tenantId: metadata.labels[LABELS.tenantId] as TenantId,
    }))
    .filter(({ namespace, tenantId }) => namespace === namespaceOf(tenantId));
  const surveyed: TenantSurvey[] = [];
  const work = async (): Promise<void> => {
    for (let next = tenants.pop(); next !== undefined; next = tenants.pop()) {
      surveyed.push(await surveyTenant(api, instance, next));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return surveyed;
}

async function surveyTenant(
  api: Pick<ApiClient, 'send'>,
  instance: string,
  { namespace, tenantId }: Pick<TenantSurvey, 'namespace' | 'tenantId'>,
): Promise<TenantSurvey> {
  const query = { labelSelector: selector(instance, 'run') };
  const pods = `/api/v1/namespaces/${namespace}/pods`;
  // 403: a namespace that is being made or removed.
  const [jobs, podList] = await Promise.all([
    retryTransient(() => accepting([403], listAll(api, jobSchema, { path: jobPath(namespace), query }))),
    retryTransient(() => accepting([403], listAll(api, podSchema, { path: pods, query }))),
  ]);
  const isOwn = (ref: TenantAttempt | undefined): ref is TenantAttempt => ref?.tenantId === tenantId;
  return {
    tenantId,
    namespace,
    jobs: (jobs?.items ?? []).flatMap((job) => {
      const ref = identityOf(job.metadata.labels);
      return isOwn(ref) ? [{ ref, job }] : [];
    }),
    pods: (podList?.items ?? []).map((pod) => identityOf(pod.metadata.labels)).filter(isOwn),
  };
}
