import { open, stat, type FileHandle } from 'node:fs/promises';
import { StringDecoder } from 'node:string_decoder';
import { z } from 'zod';

/** One write that an API server answered (audit.k8s.io/v1, `Event` at level `Metadata`). */
export interface Write {
  readonly user: string;
  readonly verb: string;
  /** e.g. `jobs` or `pods/binding`. */
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  /** The HTTP status of the answer. */
  readonly status: number;
  /** When the request came and when it was answered, in milliseconds since the epoch. */
  readonly received: number;
  readonly answered: number;
}

const MICRO = 1000;

/** Times have microseconds, which `Date` drops. */
const time = z.iso.datetime().transform((text) => {
  const micros = Number((/\.(\d+)Z$/.exec(text)?.[1] ?? '').padEnd(6, '0').slice(3, 6));
  return Date.parse(text) + micros / MICRO;
});

const eventSchema = z
  .object({
    verb: z.string(),
    user: z.object({ username: z.string() }),
    objectRef: z
      .object({
        resource: z.string(),
        subresource: z.string().default(''),
        namespace: z.string().default(''),
        name: z.string().default(''),
      })
      .prefault({ resource: '' }),
    responseStatus: z.object({ code: z.number() }).prefault({ code: 0 }),
    requestReceivedTimestamp: time,
    stageTimestamp: time,
  })
  .transform(({ verb, user, objectRef, responseStatus, requestReceivedTimestamp, stageTimestamp }): Write => {
    const { resource, subresource, namespace, name } = objectRef;
    return {
      user: user.username,
      verb,
      resource: subresource === '' ? resource : `${resource}/${subresource}`,
      namespace,
      name,
      status: responseStatus.code,
      received: requestReceivedTimestamp,
      answered: stageTimestamp,
    };
  });

const CHUNK_BYTES = 1024 * 1024;

/** Reads the log of writes of an API server as it grows, also past its rotation. */
export class AuditLog implements AsyncDisposable {
  readonly #path: string;
  #file: FileHandle;
  #decoder = new StringDecoder('utf8');
  #rest = '';

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  static async open(path: string): Promise<AuditLog> {
    return new AuditLog(path, await open(path));
  }

  /**
   * @param contains only lines with this text are looked at: most are of no interest, and they are many.
   * @returns what was written since the last call.
   */
  async read(contains: string): Promise<Write[]> {
    const writes: Write[] = [];
    await this.#readToEnd(contains, writes);
    if ((await this.#file.stat()).ino !== (await stat(this.#path)).ino) {
      // It was rotated: what came before that, then the new file.
      await this.#readToEnd(contains, writes);
      await this.#file.close();
      this.#file = await open(this.#path);
      await this.#readToEnd(contains, writes);
    }
    return writes;
  }

  async #readToEnd(contains: string, into: Write[]): Promise<void> {
    for (;;) {
      const { buffer, bytesRead } = await this.#file.read({ buffer: Buffer.alloc(CHUNK_BYTES) });
      if (bytesRead === 0) return;
      const lines = (this.#rest + this.#decoder.write(buffer.subarray(0, bytesRead))).split('\n');
      this.#rest = lines.pop() ?? '';
      for (const line of lines) {
        if (line.includes(contains)) into.push(eventSchema.parse(JSON.parse(line)));
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}
