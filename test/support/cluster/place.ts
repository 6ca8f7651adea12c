import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { Leases } from '../../../controller/setup/leases.ts';
import { withLock } from '../../../controller/setup/lock.ts';
import { removeCgroups } from './cgroups.ts';

/** So many clusters at a time: each has a range of addresses of its own. */
const PLACES = 16;
/** The second number of the first place's addresses. */
const FIRST_RANGE = 208;

/** What one cluster has for itself on this machine. */
export interface Place {
  /** Everything that it writes; short, because Unix sockets go into it. */
  readonly folder: string;
  /** Names its network interface on this machine and its cgroups. */
  readonly name: string;
  /** This machine's address on the link to the node. */
  readonly hostAddress: string;
  readonly nodeAddress: string;
  /** The length of the link's prefix. */
  readonly linkPrefix: number;
  readonly podRange: string;
  readonly podGateway: string;
  readonly serviceRange: string;
  /** The first address of `serviceRange`, which is the API server's Service. */
  readonly apiService: string;
  /** Gives it back; everything that ran in it has ended. */
  release(): Promise<void>;
}

/** Takes a free place, after removing what clusters left whose owner was killed. */
export async function takePlace(cacheDir: string): Promise<Place> {
  const base = join(cacheDir, 'clusters');
  return await withLock(join(base, 'lock'), async () => {
    for (let index = 0; index < PLACES; index += 1) {
      const folder = join(base, String(index));
      const leases = new Leases(join(base, `${index}.leases`));
      const name = `wormhole${index}`;
      if (leases.live().length > 0) continue;
      await clear(folder, name);
      // Somebody with another cache folder has it, or the kernel has not yet taken it away.
      if (networkInterfaces()[name] !== undefined || usesRange(FIRST_RANGE + index)) continue;
      const lease = leases.take();
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      return { ...addresses(FIRST_RANGE + index), folder, name, release };

      async function release(): Promise<void> {
        await clear(folder, name);
        leases.drop(lease);
      }
    }
    throw new Error(
      `all of the ${PLACES} places for clusters in ${base} are taken: end one (npm run cluster)`,
    );
  });
}

async function clear(folder: string, name: string): Promise<void> {
  await removeCgroups(name);
  if (existsSync(folder)) rmSync(folder, { recursive: true, maxRetries: 10, retryDelay: 100 });
}

function addresses(range: number): Omit<Place, 'folder' | 'name' | 'release'> {
  const at = (rest: string): string => `10.${range}.${rest}`;
  return {
    hostAddress: at('0.1'),
    nodeAddress: at('0.2'),
    linkPrefix: 24,
    podRange: at('64.0/18'),
    podGateway: at('64.1'),
    serviceRange: at('128.0/18'),
    apiService: at('128.1'),
  };
}

function usesRange(range: number): boolean {
  return Object.values(networkInterfaces())
    .flat()
    .some((one) => one?.address.startsWith(`10.${range}.`));
}
