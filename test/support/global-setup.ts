import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { HOST_SOCKET } from './host-protocol.ts';
import { removeAbandonedRuns, RUN_FOLDER_PREFIX } from './run-folder.ts';

/**
 * Runs once, around all test files: gives them a folder for temporary files and the process that owns their
 * servers, and fails the run when they leave something behind.
 */
export default async function setup(): Promise<() => Promise<void>> {
  await removeAbandonedRuns();
  const folder = await mkdtemp(RUN_FOLDER_PREFIX);
  // Servers of root's run as nobody, who must get through.
  await chmod(folder, 0o711);
  const temporary = join(folder, 'tmp');
  await mkdir(temporary, { mode: 0o711 });
  const host = spawn(process.execPath, [join(import.meta.dirname, 'server-host.ts'), folder], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  });
  const exited = once(host, 'exit') as Promise<[number | null]>;
  const [first] = await Promise.race([once(host.stdout, 'data'), exited]);
  if (!Buffer.isBuffer(first)) throw new Error('the server host of the tests did not start');

  // For the test files' processes, and for all that they start.
  process.env['TMPDIR'] = temporary;
  process.env[HOST_SOCKET] = join(folder, 'host.sock');

  return async () => {
    const output = text(host.stdout);
    host.stdin.end();
    const leftovers = (await output).split('\n').filter((line) => line !== '');
    const [code] = await exited;
    if (code !== 0) leftovers.push(`a broken server host (exit code ${code ?? 'none'})`);
    if (leftovers.length > 0) throw new Error(`the tests left behind:\n  ${leftovers.join('\n  ')}`);
  };
}
