import { expect, test } from 'vitest';
import { ApiError } from '../../../controller/backends/kubernetes/api-error.ts';
import { serviceHosts } from '../../../controller/backends/kubernetes/service-hosts.ts';
import { startError } from '../../../controller/backends/kubernetes/start-error.ts';

test.each([
  [404, 'services "gateway" not found'],
  [403, 'services "gateway" is forbidden: denied by policy'],
])(
  'a Service that cannot be read (%s) is named, and its run may be started again',
  async (status, message) => {
    const api = { send: () => Promise.reject(new ApiError(message, { status })) };
    const error: unknown = await serviceHosts(api, 'system', ['gateway'])().catch((cause: unknown) => cause);
    const failed = startError(error, 'run r');
    expect(failed).toMatchObject({ reason: 'UNSCHEDULABLE', retryable: true, unanswered: false });
    expect(failed.message).toContain('Service "gateway" in namespace "system"');
  },
);
