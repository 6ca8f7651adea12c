import { randomBytes } from 'node:crypto';
import { connectClient } from '../../controller/client.ts';
import { newRunId, type RunId, type TenantId, type WorkflowVersionId } from '../../controller/model/ids.ts';
import { INTAKE_QUEUE } from '../../controller/queue/names.ts';
import { openQueueServer } from '../../controller/queue/queue-server.ts';
import type { Place } from './servers.ts';

/** Whose runs are submitted. */
export interface Work {
  readonly tenantId: TenantId;
  readonly workflowVersionId: WorkflowVersionId;
}

/** Something that submits runs, from this process. */
export interface Producer extends AsyncDisposable {
  /** Resolves when the run was accepted. */
  readonly submit: (work: Work) => Promise<RunId>;
}

const KEY_BYTES = 32;
const CONNECTIONS = 4;

/** The client library. */
export async function clientProducer({ databaseUrl, redisUrl }: Place): Promise<Producer> {
  const encryptionKeys = `bench:${randomBytes(KEY_BYTES).toString('base64')}`;
  const client = await connectClient({ databaseUrl, redisUrl, encryptionKeys });
  return {
    submit: async (work) => (await client.submit({ ...work, input: {} })).runId,
    [Symbol.asyncDispose]: () => client.close(),
  };
}

/** A BullMQ queue and nothing else: the controller's intake takes it from there. */
export function queueProducer({ databaseUrl, redisUrl }: Place): Promise<Producer> {
  const onError = (): void => undefined;
  const server = openQueueServer({ databaseUrl, redisUrl, maxConnections: CONNECTIONS, onError });
  const queue = server.queue<Work>(INTAKE_QUEUE);
  return Promise.resolve({
    submit: async (work) => {
      const runId = newRunId();
      await queue.add('run', work, { jobId: runId });
      return runId;
    },
    [Symbol.asyncDispose]: async () => {
      await queue.close();
      await server.close();
    },
  });
}
