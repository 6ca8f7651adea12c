import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * @returns the name of the program that a live process runs, e.g. `postgres`; undefined when there is no such
 * process, or only what is left of one that its parent never waited for (a zombie).
 */
export async function commandOf(pid: number): Promise<string | undefined> {
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
  try {
    return process.platform === 'linux' ? await fromProc(pid) : await fromPs(pid);
  } catch {
    // Both fail exactly when there is no such process.
    return undefined;
  }
}

/** proc_pid_stat(5): `<pid> (<command>) <state> …`. */
async function fromProc(pid: number): Promise<string | undefined> {
  const [, command, state] = /^\d+ \((.*)\) (\S)/s.exec(await readFile(`/proc/${pid}/stat`, 'utf8')) ?? [];
  return state === 'Z' ? undefined : command;
}

/** ps(1): `<state> <path of the command>`. */
async function fromPs(pid: number): Promise<string | undefined> {
  const { stdout } = await run('ps', ['-o', 'stat=,comm=', '-p', String(pid)]);
  const [, state, path] = /^\s*(\S+)\s+(.*\S)/.exec(stdout) ?? [];
  return path === undefined || state?.startsWith('Z') === true ? undefined : basename(path);
}
