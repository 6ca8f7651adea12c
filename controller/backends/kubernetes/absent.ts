import type { ApiClient } from './api-client.ts';
import { accepting, ApiError } from './api-error.ts';

/**
 * Waits for a request about something in a namespace that may be gone, and our rights there with it: then the API server
 * says "forbidden", not "not found".
 * @returns undefined when what was asked for is not there.
 * @throws {ApiError}
 */
export async function orAbsent<T>(
  api: Pick<ApiClient, 'send'>,
  namespace: string,
  request: Promise<T>,
): Promise<T | undefined> {
  try {
    return await accepting([404], request);
  } catch (error) {
    if (error instanceof ApiError && error.status === 403 && (await isGone(api, namespace))) return undefined;
    throw error;
  }
}

async function isGone(api: Pick<ApiClient, 'send'>, namespace: string): Promise<boolean> {
  const found = await accepting([404], api.send({ path: `/api/v1/namespaces/${namespace}` }));
  return found === undefined;
}
