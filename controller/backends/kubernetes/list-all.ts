import type { z } from 'zod';
import type { ApiClient, ApiRequest } from './api-client.ts';
import { listSchema } from './objects.ts';

/** Objects per request: a page of pods is some megabytes. */
const PAGE = 500;

/**
 * Lists objects page by page: all of them as they were at one moment.
 * @returns them, and the version from which a watch goes on.
 * @throws {ApiError}
 */
export async function listAll<T>(
  api: Pick<ApiClient, 'send'>,
  schema: z.ZodType<T>,
  call: Pick<ApiRequest, 'path' | 'query' | 'signal'>,
): Promise<{ readonly items: T[]; readonly resourceVersion: string }> {
  const items: T[] = [];
  for (let page = '', version = ''; ;) {
    const query = { ...call.query, limit: PAGE, ...(page === '' ? {} : { continue: page }) };
    const { metadata, items: raw } = listSchema.parse(await api.send({ ...call, query }));
    items.push(...raw.map((item) => schema.parse(item)));
    version ||= metadata.resourceVersion;
    page = metadata.continue;
    if (page === '') return { items, resourceVersion: version };
  }
}
