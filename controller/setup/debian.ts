import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { runCommand } from './command.ts';

const POLICY = '/usr/sbin/policy-rc.d';

/** @returns the fields of os-release(5), or nothing where there is no such file. */
function osRelease(): Readonly<Record<string, string>> {
  if (!existsSync('/etc/os-release')) return {};
  const lines = readFileSync('/etc/os-release', 'utf8').split('\n');
  return Object.fromEntries(
    lines.flatMap((line) => {
      const match = /^([A-Z_]+)="?([^"]*)"?$/.exec(line);
      return match?.[1] === undefined ? [] : [[match[1], match[2] ?? '']];
    }),
  );
}

/** @returns whether this machine installs packages with apt: Debian, Ubuntu or a relative. */
export function isDebian(): boolean {
  const release = osRelease();
  const ids = [release['ID'], ...(release['ID_LIKE'] ?? '').split(' ')];
  return ids.some((id) => id === 'debian' || id === 'ubuntu');
}

/** @returns the release's code name, e.g. `bookworm`. */
export function suite(): string | undefined {
  return osRelease()['VERSION_CODENAME'];
}

/** @returns whether we may install packages: root on a Debian. */
export function canInstallPackages(): boolean {
  return process.platform === 'linux' && process.getuid?.() === 0 && isDebian();
}

/**
 * Installs packages with apt, without recommended ones, questions, or starting any service of theirs.
 * @throws {Error} with apt's own output.
 */
export async function installPackages(
  packages: readonly string[],
  onProgress: (step: string) => void,
): Promise<void> {
  onProgress('reading the package lists (apt-get update)');
  await runCommand('apt-get', ['update', '-q']);
  onProgress(`installing ${packages.join(', ')} with apt-get`);
  // Maintainer scripts ask this program before they start a service (invoke-rc.d(8)); an administrator's own stays.
  const ours = !existsSync(POLICY);
  if (ours) writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    await runCommand('apt-get', ['install', '-q', '-y', '--no-install-recommends', ...packages], {
      env: { DEBIAN_FRONTEND: 'noninteractive' },
    });
  } finally {
    if (ours) rmSync(POLICY, { force: true });
  }
}
