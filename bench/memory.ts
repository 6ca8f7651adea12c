import type { BenchContext } from './benchmark.ts';
import type { ControllerProcess } from './controller-process.ts';
import { feed, untilEnded } from './load.ts';
import type { SimulatedPlatform } from './simulated-platform.ts';
import { setTimeout as delay } from 'node:timers/promises';

/** After each thousand it is looked at; after the first, caches and pools are filled, and the growth begins. */
const STEP = 1000;
/** What ends with the last run has ended by then. */
const QUIET_MS = 5_000;
/** Then it ends with what it has. */
const PATIENCE_MS = 40 * 60_000;
const MIB = 1024 * 1024;

/** What the controller used when a number of runs had ended, in MiB. */
export interface MemoryUse {
  readonly runs: number;
  readonly rssMb: number;
  readonly heapMb: number;
}

/**
 * Leads runs through one controller and looks at its memory, all garbage collected, after every thousand.
 * @param runs in all; fewer when that would take too long.
 */
export async function measureMemory(
  platform: SimulatedPlatform,
  { progress, interrupt }: BenchContext,
  runs: number,
): Promise<MemoryUse[]> {
  const signal = interrupt.stop;
  await using opened = new AsyncDisposableStack();
  const controller = await platform.startController();
  opened.defer(() => controller.stop());
  const client = await platform.connect();
  opened.defer(() => client.close());
  const giveUpAt = Date.now() + PATIENCE_MS;
  const uses: MemoryUse[] = [];
  for (let done = 0; done < runs && Date.now() < giveUpAt;) {
    const next = Math.min(STEP, runs - done);
    progress.step(`runs ${done + 1} to ${done + next} through one controller`);
    const { pool } = platform;
    const load = { pool, runs: next, progress, signal };
    await feed(client, load);
    await untilEnded(load);
    done += next;
    await delay(QUIET_MS, undefined, { signal });
    const use = await look(controller, done);
    progress.step(
      `after ${done} runs: ${use.rssMb.toFixed(1)} MiB resident, ${use.heapMb.toFixed(1)} MiB of heap`,
    );
    uses.push(use);
  }
  return uses;
}

async function look(controller: ControllerProcess, runs: number): Promise<MemoryUse> {
  const { rss, heapUsed } = await controller.memory();
  return { runs, rssMb: rss / MIB, heapMb: heapUsed / MIB };
}
