import { runJobName } from '../../../lib/constructs/run-job.ts';
import type { AttemptRef } from '../../model/ids.ts';

/** @returns the name of the attempt's Job. */
export const jobName = ({ runId, attempt }: AttemptRef): string => runJobName(runId, attempt);

/** @returns the path of a namespace's Jobs, or of one of them, on the API server. */
export const jobPath = (namespace: string, name?: string): string =>
  `/apis/batch/v1/namespaces/${namespace}/jobs${name === undefined ? '' : `/${name}`}`;

/** @returns the path of a pod on the API server. */
export const podPath = (namespace: string, name: string): string =>
  `/api/v1/namespaces/${namespace}/pods/${name}`;
