import type { BenchContext, Benchmark } from './benchmark.ts';
import { capacityReport } from './capacity/report.ts';
import { measureConnections, type Held } from './capacity/connections.ts';
import { measureDispatch, type Dispatch } from './capacity/latency.ts';
import { measureFairness, type Wait } from './capacity/fairness.ts';
import { measureMemory, type MemoryUse } from './capacity/memory.ts';
import { measureRate, type Round } from './capacity/rate.ts';
import { openServers, type QueueKind } from './capacity/servers.ts';
import { measureTakeover } from './capacity/takeover.ts';

/** What was measured of dispatch: of each part that was asked for. */
export interface CapacityFindings {
  readonly dispatch?: readonly Dispatch[];
  readonly waits?: readonly Wait[];
  readonly rounds?: readonly Round[];
  readonly memory?: MemoryUse;
  readonly connections?: readonly Held[];
  /** In milliseconds, of each time. */
  readonly takeovers?: readonly number[];
}

const QUEUES: readonly QueueKind[] = ['redis', 'embedded'];
/** Runs of each of 1,000 tenants. */
const LONG_QUEUE_EACH = 100;

/** Measures controllers in processes of their own, on real servers, with a backend that starts at once. */
export const capacityBenchmark: Benchmark = {
  parts: ['dispatch', 'fairness', 'rate', 'memory', 'connections', 'takeover'],
  run: async (context) => capacityReport(await measure(context)),
};

async function measure(context: BenchContext): Promise<CapacityFindings> {
  const { parts } = context;
  await using servers = await openServers(context);
  const onEach = async <T>(work: (queue: QueueKind) => Promise<readonly T[]>): Promise<T[]> => {
    const found: T[] = [];
    for (const queue of QUEUES) found.push(...(await work(queue)));
    return found;
  };
  return {
    ...(parts.has('dispatch') && {
      dispatch: await onEach((queue) => measureDispatch(servers, context, queue)),
    }),
    ...(parts.has('fairness') && { waits: await measureFairness(servers, context, 'redis') }),
    ...(parts.has('rate') && { rounds: await measureRate(servers, context, 'redis') }),
    ...(parts.has('memory') && { memory: await measureMemory(servers, context, 'redis', LONG_QUEUE_EACH) }),
    ...(parts.has('connections') && {
      connections: await onEach((queue) => measureConnections(servers, context, queue)),
    }),
    ...(parts.has('takeover') && {
      takeovers: await onEach((queue) => measureTakeover(servers, context, queue)),
    }),
  };
}
