import { spawn } from 'node:child_process';

const KEPT_OUTPUT = 4000;

/**
 * Runs a program to its end, without a shell and without input.
 * @returns what it wrote to stdout.
 * @throws {Error} when it cannot be started or fails; the message has the end of what it printed.
 */
export async function runCommand(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  // `env` puts the additional variables before the inherited ones: the environment itself is not read here.
  const extra = Object.entries(options.env ?? {}).map(([name, value]) => `${name}=${value}`);
  const [file, argv] = extra.length === 0 ? [program, args] : ['env', [...extra, program, ...args]];
  const child = spawn(file, argv, { cwd: options.cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let all = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    all = (all + text).slice(-KEPT_OUTPUT);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (all = (all + text).slice(-KEPT_OUTPUT)));
  child.on('error', reject);
  child.on('close', (code, signal) => {
    if (code === 0) resolve(stdout);
    else
      reject(
        new Error(`${program} ${args[0] ?? ''}: ${signal ?? `exit code ${code ?? '?'}`}\n${all.trim()}`),
      );
  });
  return await promise;
}
