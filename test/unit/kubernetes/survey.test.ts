import { expect, test } from 'vitest';
import type { ApiRequest } from '../../../controller/backends/kubernetes/api-client.ts';
import { ApiError } from '../../../controller/backends/kubernetes/api-error.ts';
import { survey } from '../../../controller/backends/kubernetes/survey.ts';
import { rawPod, REF } from './pods.ts';

const namespaces = [
  {
    metadata: {
      name: 'run-acme',
      uid: 'n',
      creationTimestamp: '2026-11-23T22:00:00Z',
      labels: { 'wormhole.dev/tenant-id': 'acme' },
    },
  },
];

/** Surveys where one list in three gets `refusal` first. */
async function surveyed(refusal: ApiError) {
  let asked = 0;
  const send = ({ path }: ApiRequest): Promise<unknown> => {
    asked += 1;
    if (asked % 3 === 2) return Promise.reject(refusal);
    const items = path.endsWith('/namespaces') ? namespaces : path.endsWith('/pods') ? [rawPod()] : [];
    return Promise.resolve({ metadata: { resourceVersion: '1' }, items });
  };
  return await survey({ send }, 'i', (tenantId) => `run-${tenantId}`);
}

test.each([429, 503, null])('one list of many that gets %s is made again', async (status) => {
  const [tenant] = await surveyed(new ApiError('not now', { status }));
  expect(tenant).toMatchObject({ tenantId: 'acme', pods: [REF] });
});

test('a list that is not found is no empty one', async () => {
  await expect(surveyed(new ApiError('?', { status: 404, reason: 'NotFound' }))).rejects.toThrow('?');
});
