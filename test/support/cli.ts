import { Readable, Writable } from 'node:stream';
import { Interrupt } from '../../controller/cli/interrupt.ts';
import { openClient } from '../../controller/cli/open-client.ts';
import { runCli } from '../../controller/cli/program.ts';

/** What a command of the CLI did. */
export interface CliResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Standard output as one JSON document. */
  json(): unknown;
  /** Standard output as JSON objects, one per line. */
  events(): Record<string, unknown>[];
}

/** Runs a command of the CLI in this process. */
export async function wormhole(
  args: readonly string[],
  options: {
    readonly env?: Readonly<Record<string, string>>;
    readonly stdin?: string;
    readonly interrupt?: Interrupt;
  } = {},
): Promise<CliResult> {
  const stdout = new TextSink();
  const stderr = new TextSink();
  const exitCode = await runCli(args, {
    env: options.env ?? {},
    streams: { stdin: Readable.from([options.stdin ?? '']), stdout, stderr },
    interrupt: options.interrupt ?? new Interrupt(),
    openClient,
  });
  return {
    exitCode,
    stdout: stdout.text,
    stderr: stderr.text,
    json: () => JSON.parse(stdout.text) as unknown,
    events: () =>
      stdout.text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>),
  };
}

class TextSink extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}
