import { spawn } from 'node:child_process';

/** How long programs may take to end after an interrupt. */
const GRACE_MS = 15_000;

/**
 * Runs a program with our standard output and error.
 * It gets a process group of its own. When we are interrupted or terminated, the whole group is, and we end after it.
 * @param {{ program: string, args: string[], cwd: string }} what
 * @returns {Promise<number>} its exit code.
 * @throws {Error} when it cannot be started.
 */
export function runProgram({ program, args, cwd }) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, stdio: ['ignore', 'inherit', 'inherit'], detached: true });
    let interrupted = 0;
    const forward = (signal, number) => {
      interrupted ||= 128 + number;
      signalGroup(child.pid, signal);
      setTimeout(() => signalGroup(child.pid, 'SIGKILL'), GRACE_MS).unref();
    };
    process.on('SIGINT', forward);
    process.on('SIGTERM', forward);
    const end = (settle, value) => {
      process.off('SIGINT', forward);
      process.off('SIGTERM', forward);
      if (interrupted !== 0) process.exit(interrupted);
      settle(value);
    };
    child.on('error', (error) => end(reject, error));
    child.on('close', (code) => end(resolve, code ?? 1));
  });
}

function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    // ESRCH: all of it has ended.
    if (error.code !== 'ESRCH') throw error;
  }
}
