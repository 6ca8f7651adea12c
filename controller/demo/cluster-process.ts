import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { WormholeError } from '../errors.ts';

/** What `npm run cluster` runs. It ends, and removes its cluster, when its standard input does. */
const PROGRAM = fileURLToPath(new URL('../../test/support/cluster/main.ts', import.meta.url));
const LINES_KEPT = 20;
const COMMAND_TIMEOUT_MS = 300_000;
const OUTPUT_BYTES = 16 * 1024 * 1024;

const readySchema = z.object({
  kubeconfig: z.string(),
  nodeAddress: z.string(),
  kubectl: z.array(z.string()).min(1),
  loadImage: z.array(z.string()).min(1),
  auditLog: z.string(),
});

/** A cluster of its own, in a process of its own: it is gone with us, however we end. */
export interface ClusterProcess {
  readonly kubeconfig: string;
  /** This machine's address as pods see it. */
  readonly nodeAddress: string;
  /**
   * Runs kubectl.
   * @returns its standard output.
   * @throws {WormholeError} BACKEND_FAILED, with what it printed.
   */
  kubectl(args: readonly string[], stdin?: string): Promise<string>;
  /** Path of the API server's audit log: every write, an event (JSON) a line. */
  readonly auditLog: string;
  /** Copies an image from the container engine to the node. */
  loadImage(name: string): Promise<void>;
  /** Removes the cluster. */
  stop(): Promise<void>;
}

/**
 * Starts a cluster; the first time its servers are built, which takes minutes.
 * @throws {WormholeError} BACKEND_FAILED, with what the machine lacks.
 */
export async function startCluster(options: {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly onProgress: (step: string) => void;
  readonly signal: AbortSignal;
}): Promise<ClusterProcess> {
  options.signal.throwIfAborted();
  // In a session of its own: Ctrl-C in the terminal does not reach it before the demo has ended.
  const child = spawn(process.execPath, [PROGRAM, '--json'], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: options.env,
    detached: true,
  });
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  let isEnding = false;
  const end = async (): Promise<void> => {
    isEnding = true;
    child.stdin.end();
    await exited;
  };
  const last: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => {
    last.push(line);
    if (last.length > LINES_KEPT) last.shift();
    if (!isEnding) options.onProgress(line);
  });
  // It may end before it has read anything.
  child.stdin.on('error', () => undefined);
  const aborted = once(options.signal, 'abort').catch(() => undefined);
  const first = await Promise.race([
    once(createInterface({ input: child.stdout }), 'line') as Promise<[string]>,
    exited.then(() => undefined),
    aborted.then(() => undefined),
  ]);
  if (first === undefined) {
    await end();
    options.signal.throwIfAborted();
    throw new WormholeError('BACKEND_FAILED', `the cluster did not start: ${last.slice(-5).join(' | ')}`);
  }
  const ready = readySchema.parse(JSON.parse(first[0]));
  const run = async (command: readonly string[], stdin = ''): Promise<string> => {
    const [program = '', ...args] = command;
    return await runCommand(program, args, {
      env: { ...options.env, KUBECONFIG: ready.kubeconfig },
      signal: options.signal,
      stdin,
    });
  };
  return {
    kubeconfig: ready.kubeconfig,
    nodeAddress: ready.nodeAddress,
    auditLog: ready.auditLog,
    kubectl: (args, stdin) => run([...ready.kubectl, ...args], stdin),
    loadImage: async (name) => {
      await run([...ready.loadImage, name]);
    },
    stop: end,
  };
}

async function runCommand(
  program: string,
  args: readonly string[],
  {
    env,
    signal,
    stdin,
  }: { readonly env: NodeJS.ProcessEnv; readonly signal: AbortSignal; readonly stdin: string },
): Promise<string> {
  return await new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      { env, signal, timeout: COMMAND_TIMEOUT_MS, maxBuffer: OUTPUT_BYTES },
      (error, stdout, stderr) => {
        const why = stderr.trim().split('\n').slice(-5).join(' | ');
        // Not the error itself: its message holds the whole command line.
        const failed = new WormholeError('BACKEND_FAILED', `${args.slice(0, 3).join(' ')}: ${why}`);
        if (error === null) resolve(stdout);
        else reject(signal.aborted ? (signal.reason as Error) : failed);
      },
    );
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(stdin);
  });
}
