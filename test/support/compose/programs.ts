import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { messageOf } from '../../../controller/errors.ts';
import { canInstallPackages, installPackages } from '../../../controller/setup/debian.ts';
import type { Availability } from '../availability.ts';

/** What an engine with networks and its images need, by the Debian package that brings each. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  'docker.io': ['dockerd'],
  iptables: ['iptables'],
  iproute2: ['ip'],
  'util-linux': ['unshare', 'nsenter', 'setpriv'],
  mmdebstrap: ['mmdebstrap'],
};

/** Finds them on this machine, installing what is missing. */
export async function findPrograms(log: (message: string) => void): Promise<Availability<null>> {
  if (!canInstallPackages()) return { missing: 'root on Debian, for an engine and images of its own' };
  const absent = Object.entries(PACKAGES)
    .filter(([, programs]) => !programs.every(isOnPath))
    .map(([name]) => name);
  if (absent.length === 0) return { value: null };
  try {
    await installPackages(absent, log);
    return { value: null };
  } catch (error) {
    return { missing: `${absent.join(', ')} (${messageOf(error)})` };
  }
}

const isOnPath = (program: string): boolean =>
  (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, program)));
