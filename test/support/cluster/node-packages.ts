import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { delimiter } from 'node:path';
import { messageOf } from '../../../controller/errors.ts';
import { canInstallPackages, installPackages } from '../../../controller/setup/debian.ts';
import type { Availability } from '../availability.ts';

/** Programs that a node runs, by the Debian package that brings each. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  containerd: ['containerd', 'ctr', 'containerd-shim-runc-v2'],
  runc: ['runc'],
  iptables: ['iptables', 'iptables-save', 'iptables-restore'],
  ipset: ['ipset'],
  nftables: ['nft'],
  iproute2: ['ip'],
  'util-linux': ['unshare', 'nsenter', 'setpriv'],
};
const CNI_PACKAGE = 'containernetworking-plugins';
const CNI_FOLDERS = ['/usr/lib/cni', '/opt/cni/bin'];

/** @returns the folder of the network plugins, when this machine can run a node, installing what is missing. */
export async function findNodePrograms(log: (message: string) => void): Promise<Availability<string>> {
  if (process.platform !== 'linux') return { missing: 'Linux, for a Kubernetes node' };
  if (process.getuid?.() !== 0) return { missing: 'to run as root, for a Kubernetes node' };
  const absent = missingPackages();
  if (absent.length > 0) {
    const wayOut = `install ${absent.join(', ')}, for a Kubernetes node`;
    if (!canInstallPackages()) return { missing: wayOut };
    try {
      await installPackages(absent, log);
    } catch (error) {
      return { missing: `${wayOut} (${messageOf(error)})` };
    }
  }
  const plugins = cniFolder();
  return plugins === undefined
    ? { missing: `install ${CNI_PACKAGE}, for a Kubernetes node` }
    : { value: plugins };
}

function missingPackages(): string[] {
  const packages = Object.entries(PACKAGES)
    .filter(([, programs]) => !programs.every(isOnPath))
    .map(([name]) => name);
  return cniFolder() === undefined ? [...packages, CNI_PACKAGE] : packages;
}

const cniFolder = (): string | undefined =>
  CNI_FOLDERS.find((folder) => existsSync(join(folder, 'bridge')) && existsSync(join(folder, 'host-local')));

const isOnPath = (program: string): boolean =>
  (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, program)));
