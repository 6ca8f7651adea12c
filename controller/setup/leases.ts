import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Says which live processes use something that they share, as one file per use in a folder. A use ends with its
 * process: files of dead processes do not count. Linux only; not atomic, so callers hold a lock.
 */
export class Leases {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Registers one more use by this process. @returns the lease, for `drop`. */
  take(): string {
    mkdirSync(this.#folder, { recursive: true });
    const lease = `${process.pid}-${startTimeOf(process.pid) ?? ''}-${randomUUID().slice(0, 8)}`;
    writeFileSync(join(this.#folder, lease), '');
    return lease;
  }

  /** Ends one use. A lease that is gone is success. */
  drop(lease: string): void {
    rmSync(join(this.#folder, lease), { force: true });
  }

  /** Forgets the leases of dead processes. @returns those of live ones. */
  live(): string[] {
    mkdirSync(this.#folder, { recursive: true });
    return readdirSync(this.#folder).filter((lease) => {
      const [pid, startTime] = lease.split('-');
      const alive = startTime !== undefined && startTimeOf(Number(pid)) === startTime;
      if (!alive) this.drop(lease);
      return alive;
    });
  }
}

/**
 * When a process started, in clock ticks since boot: with its pid, this names a process for as long as the machine
 * runs (proc_pid_stat(5), field 22). A zombie counts as dead.
 */
function startTimeOf(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The second field is the program's name in parentheses, which may itself hold spaces and parentheses.
  const [state, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return state === 'Z' ? undefined : rest[18];
}
