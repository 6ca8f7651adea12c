import { createReadStream } from 'node:fs';
import { messageOf, WormholeError, type ErrorCode } from '../errors.ts';

/** What is read, for messages, and how much of it at most. */
export interface JsonSource {
  /** e.g. `the input`. */
  readonly what: string;
  readonly maxBytes: number;
  /** What is thrown when it is not JSON. */
  readonly code: ErrorCode;
}

/**
 * Reads JSON from a file.
 * @throws {WormholeError} the source's code when there is no such file or it holds no JSON, PAYLOAD_TOO_LARGE when
 *   it is too large; it is then not read to its end.
 */
export async function readJsonFile(path: string, source: JsonSource): Promise<unknown> {
  return parseJson(await readText(createReadStream(path), path, source), path, source);
}

/** Reads JSON from a stream, as `readJsonFile` does from a file. */
export async function readJsonStream(stream: NodeJS.ReadableStream, source: JsonSource): Promise<unknown> {
  return parseJson(await readText(stream, 'standard input', source), 'standard input', source);
}

/** Parses JSON that was given on the command line, as `readJsonFile` does with a file's content. */
export function parseJson(text: string, from: string, source: JsonSource): unknown {
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (error) {
    // The parser's message quotes the text, which may hold a secret: only the position is told.
    const position = /at position \d+(?: \(line \d+ column \d+\))?|end of JSON input/.exec(messageOf(error));
    const where = position === null ? '' : `: wrong ${position[0]}`;
    throw new WormholeError(source.code, `${source.what} (${from}) is not valid JSON${where}`);
  }
}

async function readText(stream: NodeJS.ReadableStream, from: string, source: JsonSource): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of stream) {
      const data = Buffer.from(chunk);
      bytes += data.length;
      if (bytes > source.maxBytes) {
        throw new WormholeError(
          'PAYLOAD_TOO_LARGE',
          `${source.what} (${from}) is larger than ${source.maxBytes} bytes, the most that is allowed`,
        );
      }
      chunks.push(data);
    }
  } catch (error) {
    if (error instanceof WormholeError) throw error;
    const why =
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : messageOf(error);
    throw new WormholeError(source.code, `${source.what} (${from}) cannot be read: ${why}`, { cause: error });
  }
  return Buffer.concat(chunks).toString('utf8');
}
