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

/** Takes a free place, after removing what clusters left whose owners were killed. */
export async function takePlace(cacheDir: string): Promise<Place> {
  const base = join(cacheDir, 'clusters');
  return await withLock(join(base, 'lock'), async () => {
    const free: Omit<Place, 'release'>[] = [];
    for (let index = 0; index < PLACES; index += 1) {
      const place = placeOf(base, index);
      if (leasesOf(place).live().length > 0 || isInUse(place)) continue;
      await clear(place);
      free.push(place);
    }
    const [place] = free;
    if (place === undefined) {
      throw new Error(
        `all of the ${PLACES} places for clusters in ${base} are taken: end one (npm run cluster)`,
      );
    }
    const leases = leasesOf(place);
    const lease = leases.take();
    mkdirSync(place.folder, { recursive: true, mode: 0o700 });
    const release = async (): Promise<void> => {
      await clear(place);
      leases.drop(lease);
    };
    return { ...place, release };
  });
}

function placeOf(base: string, index: number): Omit<Place, 'release'> {
  const at = (rest: string): string => `10.${FIRST_RANGE + index}.${rest}`;
  return {
    folder: join(base, String(index)),
    name: `wormhole${index}`,
    hostAddress: at('0.1'),
    nodeAddress: at('0.2'),
    linkPrefix: 24,
    podRange: at('64.0/18'),
    podGateway: at('64.1'),
    serviceRange: at('128.0/18'),
    apiService: at('128.1'),
  };
}

const leasesOf = ({ folder }: { readonly folder: string }): Leases => new Leases(`${folder}.leases`);

async function clear({ folder, name }: Omit<Place, 'release'>): Promise<void> {
  await removeCgroups(name);
  if (existsSync(folder)) rmSync(folder, { recursive: true, maxRetries: 10, retryDelay: 100 });
}

/** Whether somebody with another cache folder has it, something else its addresses, or the kernel still its interface. */
function isInUse({ name, hostAddress }: Omit<Place, 'release'>): boolean {
  const range = hostAddress.split('.', 2).join('.');
  return Object.entries(networkInterfaces()).some(
    ([one, addresses]) => one === name || addresses?.some(({ address }) => address.startsWith(`${range}.`)),
  );
}
