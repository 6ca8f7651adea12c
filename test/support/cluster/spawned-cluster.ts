import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Availability } from '../availability.ts';
import type { ClusterFacts } from './facts.ts';

const MAIN = join(import.meta.dirname, 'main.ts');
/** What main.ts exits with when this machine lacks something. */
const UNAVAILABLE = 5;

/** A cluster in a process of its own. */
export interface SpawnedCluster {
  readonly facts: ClusterFacts;
  /** The process that owns it. */
  readonly pid: number;
  stop(): Promise<void>;
}

/**
 * Starts a cluster that is removed by `stop` and when this process ends, however it does: its owner's input is ours.
 * @param args - options of `npm run cluster`.
 * @returns it once it is ready, or what this machine lacks.
 */
export async function spawnCluster(
  args: readonly string[],
  log: (message: string) => void,
): Promise<Availability<SpawnedCluster>> {
  const owner = spawn(process.execPath, [MAIN, '--json', ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    // Ctrl-C reaches it through its input, when we have ended.
    detached: true,
  });
  const exited = once(owner, 'exit') as Promise<[number | null]>;
  let last = '';
  createInterface(owner.stderr).on('line', (line) => {
    last = line.replace(/^cluster: /, '');
    log(last);
  });
  const ready = once(createInterface(owner.stdout), 'line') as Promise<[string]>;
  const [answer] = await Promise.race([ready, exited]);
  if (typeof answer !== 'string') {
    if (answer === UNAVAILABLE) return { missing: last };
    throw new Error(`the cluster did not start: ${last}`);
  }
  return {
    value: {
      facts: JSON.parse(answer) as ClusterFacts,
      pid: owner.pid ?? 0,
      stop: async () => {
        owner.stdin.end();
        const [code] = await exited;
        if (code !== 0) throw new Error(`the cluster did not stop: ${last}`);
      },
    },
  };
}
