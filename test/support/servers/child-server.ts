import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type NetConnectOpts } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A server program to run in the foreground. */
export interface ChildServer {
  readonly program: string;
  readonly args: readonly string[];
  /** The folder it works in. Also in its environment, by which it is found again if nobody stopped it. */
  readonly dir: string;
  /** Written to its standard input. */
  readonly input?: string;
  /** Where it listens once it is ready. */
  readonly address: NetConnectOpts;
}

const START_TIMEOUT_MS = 30_000;
const POLL_MS = 20;
const STOP_GRACE_MS = 5000;
const OUTPUT_KEPT = 2000;

/**
 * Starts a server and waits until it accepts connections.
 * @returns what stops it.
 * @throws {Error} with the end of its output when it exits or does not listen in time.
 */
export async function startChildServer(server: ChildServer): Promise<() => Promise<void>> {
  const child = spawn(server.program, server.args, {
    cwd: server.dir,
    env: { PATH: process.env['PATH'], HOME: server.dir, TMPDIR: server.dir },
    stdio: 'pipe',
  });
  let output = '';
  const keep = (chunk: Buffer): void => void (output = (output + chunk.toString()).slice(-OUTPUT_KEPT));
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  // A server that refuses to start does not read its input.
  child.stdin.on('error', () => undefined).end(server.input);
  const exited = once(child, 'exit');

  const giveUpAt = Date.now() + START_TIMEOUT_MS;
  while (!(await accepts(server.address))) {
    if (child.exitCode !== null || child.signalCode !== null || Date.now() > giveUpAt) {
      child.kill('SIGKILL');
      throw new Error(`${server.program} did not start: ${output.trim()}`);
    }
    await Promise.race([sleep(POLL_MS), exited]);
  }
  return async () => {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_GRACE_MS);
    await exited;
    clearTimeout(timer);
  };
}

function accepts(address: NetConnectOpts): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address, () => {
      socket.destroy();
      resolve(true);
    }).on('error', () => resolve(false));
  });
}
