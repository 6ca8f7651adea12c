import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pino } from 'pino';
import type { PlatformConfig } from '../../controller/config.ts';
import { startPlatform } from '../../controller/platform.ts';

const READY = 'ready\n';

/** A platform in a process of its own, for tests that kill it. */
export class PlatformProcess {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Starts it and waits until it leads. */
  static async start(config: PlatformConfig): Promise<PlatformProcess> {
    const file = join(config.runDir, '..', 'config.json');
    await writeFile(file, JSON.stringify(config), { mode: 0o600 });
    const child = spawn(process.execPath, [import.meta.filename, file], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const errors = text(child.stderr);
    const ended = once(child, 'exit').then(async () =>
      Promise.reject(new Error(`it ended: ${await errors}`)),
    );
    ended.catch(() => undefined);
    await Promise.race([once(child.stdout, 'data'), ended]);
    return new PlatformProcess(child);
  }

  /** SIGKILL, and waits until it is gone. */
  async kill(): Promise<void> {
    const exited = once(this.#child, 'exit');
    if (this.#child.kill('SIGKILL')) await exited;
  }

  /** SIGTERM: the platform stops in order. */
  async stop(): Promise<void> {
    const exited = once(this.#child, 'exit');
    if (this.#child.kill('SIGTERM')) await exited;
  }
}

if (process.argv[1] === import.meta.filename) {
  const config = JSON.parse(await readFile(process.argv[2] ?? '', 'utf8')) as PlatformConfig;
  const platform = await startPlatform({
    config,
    log: pino({ level: 'warn' }, process.stderr),
    onStep: () => undefined,
  });
  process.once('SIGTERM', () => void platform.stop({ drainMs: 0 }));
  platform.failed.addEventListener('abort', () => process.exit(1));
  process.stdout.write(READY);
}
