import { setTimeout as delay } from 'node:timers/promises';
import type { BenchContext } from '../benchmark.ts';
import { inTurn } from '../in-turn.ts';
import { declareTenants, versionOf } from './backlog.ts';
import { monotonicMs } from './monotonic.ts';
import { clientProducer } from './producers.ts';
import type { QueueKind, Servers } from './servers.ts';

const TRIES = 8;
const CAP = 50;
const TENANTS = 10;
const SUBMIT_EVERY_MS = 20;
/** Some 25 runs are alive when their controller dies. */
const LIFE_MS = 500;
/** What a controller has started when it is killed. */
const STARTS_BEFORE = 50;

/**
 * Kills leading controllers with SIGKILL under load. @returns how long it took each time until the one that stood by had
 * taken over the live runs and started its first, in milliseconds.
 */
export async function measureTakeover(
  servers: Servers,
  { progress, interrupt: { stop: signal } }: BenchContext,
  queue: QueueKind,
): Promise<number[]> {
  await using place = await servers.place(queue);
  const tenants = await declareTenants(place.pool, TENANTS, { maxConcurrent: CAP });
  const works = await Promise.all(
    tenants.map(async (tenantId) => ({ tenantId, workflowVersionId: await versionOf(place.pool, tenantId) })),
  );
  const settings = { maxConcurrent: CAP, gate: { kind: 'open', lifeMs: LIFE_MS } } as const;
  await using processes = new AsyncDisposableStack();
  let leader = processes.use(await servers.lead(place, settings));
  const producer = processes.use(await clientProducer(place));
  const over = new AbortController();
  const submitting = submit(AbortSignal.any([over.signal, signal]));
  // Told once the load ends.
  submitting.catch(() => undefined);
  processes.defer(async () => {
    over.abort();
    await submitting;
  });
  const took: number[] = [];
  while (took.length < TRIES) {
    const standby = processes.use(await servers.lead(place, settings, 'standing-by'));
    await leader.starts(STARTS_BEFORE);
    const first = standby.starts(1);
    const killed = monotonicMs();
    await leader.kill();
    const { starts } = await first;
    took.push(inTurn(starts, 0).at - killed);
    progress.step(`  take-over ${took.length} of ${TRIES} (${queue}): ${took.at(-1)?.toFixed(0)} ms`);
    leader = standby;
  }
  return took;

  async function submit(stop: AbortSignal): Promise<void> {
    for (let submitted = 0; !stop.aborted; submitted += 1) {
      await producer.submit(inTurn(works, submitted));
      await delay(SUBMIT_EVERY_MS);
    }
  }
}
