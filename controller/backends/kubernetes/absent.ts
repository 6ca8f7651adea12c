import type { ApiClient } from './api-client.ts';
import { ApiError, existing } from './api-error.ts';

/**
 * Waits for a request about one thing in a namespace that may be gone.
 * @returns undefined when what was asked for is not there.
 * @throws {ApiError}
 */
export async function orAbsent<T>(
  api: Pick<ApiClient, 'send'>,
  namespace: string,
  request: Promise<T>,
): Promise<T | undefined> {
  return await orGone(api, namespace, existing(request));
}

/**
 * Waits for a request, e.g. a list, in a namespace that may be gone, and our rights there with it: then the API server
 * says "forbidden", not "not found".
 * @returns undefined when the namespace is gone.
 * @throws {ApiError}
 */
export async function orGone<T>(
  api: Pick<ApiClient, 'send'>,
  namespace: string,
  request: Promise<T>,
): Promise<T | undefined> {
  try {
    return await request;
  } catch (error) {
    if (error instanceof ApiError && error.status === 403 && (await isGone(api, namespace))) return undefined;
    throw error;
  }
}

async function isGone(api: Pick<ApiClient, 'send'>, namespace: string): Promise<boolean> {
  return (await existing(api.send({ path: `/api/v1/namespaces/${namespace}` }))) === undefined;
}
