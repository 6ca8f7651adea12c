import { readdirSync, readFileSync } from 'node:fs';

/** @returns the process ids of the live children of a process. Linux only. */
export function childrenOf(parent: number): number[] {
  return livePids().filter((pid) => parentOf(pid) === parent);
}

/** @returns the live processes whose command line has all the texts. Linux only. */
export function processesWith(...texts: readonly string[]): number[] {
  return livePids().filter((pid) => {
    const command = read(pid, 'cmdline');
    return texts.every((text) => command.includes(text));
  });
}

/** @returns the live processes in a control group that has one of these names in its path. Linux only. */
export function processesInGroups(names: readonly string[]): number[] {
  if (names.length === 0) return [];
  return livePids().filter((pid) => {
    const groups = read(pid, 'cgroup');
    return names.some((name) => groups.includes(name));
  });
}

/** @returns whether the process is there and not a zombie. */
export const isLive = (pid: number): boolean => parentOf(pid) !== undefined;

/** Sends SIGKILL. @returns false when there is no such process any more. */
export function killProcess(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    return false;
  }
}

function livePids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** proc_pid_stat(5): `<pid> (<command>) <state> <parent> …`. */
function parentOf(pid: number): number | undefined {
  const stat = read(pid, 'stat');
  const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return stat === '' || state === 'Z' ? undefined : Number(parent);
}

/** A process may end while it is looked at. */
function read(pid: number, file: 'cgroup' | 'cmdline' | 'stat'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}
