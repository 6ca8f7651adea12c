import { readFileSync } from 'node:fs';
import { runCommand } from './command.ts';

/**
 * Unmounts everything at and below a folder, innermost first: what a killed container engine leaves mounted, which
 * keeps its folder from being removed. Linux only.
 */
export async function unmountBelow(folder: string): Promise<void> {
  const mounted = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    // The fifth field is the mount point, with spaces and the like as octal numbers (proc_pid_mountinfo(5)).
    .map((line) =>
      (line.split(' ')[4] ?? '').replaceAll(/\\(\d{3})/g, (_, octal: string) =>
        String.fromCharCode(Number.parseInt(octal, 8)),
      ),
    )
    .filter((path) => path === folder || path.startsWith(`${folder}/`));
  for (const path of mounted.reverse()) await runCommand('umount', [path]);
}
