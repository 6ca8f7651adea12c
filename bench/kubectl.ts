import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

/** Runs kubectl for one cluster. @returns its standard output. @throws with what it printed. */
export type RunKubectl = (args: readonly string[], input?: string) => Promise<string>;

/** @param command kubectl with its first arguments. */
export const kubectlOf =
  (command: readonly string[], signal: AbortSignal): RunKubectl =>
  async (args, input = '') => {
    const [program = '', ...first] = command;
    const child = spawn(program, [...first, ...args], { stdio: 'pipe', signal });
    // It may end before it has read all of it.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    const [[code], printed, errors] = await Promise.all([
      once(child, 'exit') as Promise<[number | null]>,
      text(child.stdout),
      text(child.stderr),
    ]);
    if (code !== 0) throw new Error(`kubectl ${args.slice(0, 2).join(' ')}: ${errors.trim()}`);
    return printed;
  };

/** Applies objects in their order. */
export async function apply(kubectl: RunKubectl, objects: readonly unknown[]): Promise<void> {
  await kubectl(['apply', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
}
