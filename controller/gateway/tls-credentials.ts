import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import type { Logger } from 'pino';
import { messageOf, WormholeError } from '../errors.ts';

export interface TlsFiles {
  /** The server's certificate, followed by those between it and the authority, PEM. */
  readonly certFile: string;
  /** Its private key, PEM. */
  readonly keyFile: string;
}

/** What a TLS server shows and proves itself with, PEM. */
export interface TlsPair {
  readonly cert: string;
  readonly key: string;
}

/**
 * How often the files are looked at. Not watched: a node has few inotify instances for all its pods, and the kubelet
 * takes up to a minute to swap the symlinks of a Secret's volume anyway.
 */
const CHECK_INTERVAL_MS = 5_000;

/** A certificate and its key in files, read again when they change. */
export class TlsCredentials {
  readonly #files: TlsFiles;
  readonly #log: Logger;
  readonly #listeners = new Set<(pair: TlsPair) => void>();
  readonly #timer: NodeJS.Timeout;
  #current: TlsPair;
  #checking: Promise<void> = Promise.resolve();

  private constructor(files: TlsFiles, pair: TlsPair, log: Logger, intervalMs: number) {
    this.#files = files;
    this.#log = log;
    this.#current = pair;
    this.#timer = setInterval(() => void this.check(), intervalMs);
    this.#timer.unref();
  }

  /**
   * @param options.checkIntervalMs @default 5000
   * @throws {WormholeError} CONFIG_INVALID when the files cannot be read or do not belong together.
   */
  static async open(
    files: TlsFiles,
    options: { readonly log: Logger; readonly checkIntervalMs?: number },
  ): Promise<TlsCredentials> {
    const pair = await read(files);
    return new TlsCredentials(files, pair, options.log, options.checkIntervalMs ?? CHECK_INTERVAL_MS);
  }

  get current(): TlsPair {
    return this.#current;
  }

  /** Tells of every new pair. @returns what ends that. */
  onChange(listener: (pair: TlsPair) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Looks now. A pair that cannot be used, such as half of a rotation, changes nothing. */
  async check(): Promise<void> {
    this.#checking = this.#checking.then(async () => {
      try {
        const pair = await read(this.#files);
        if (pair.cert === this.#current.cert && pair.key === this.#current.key) return;
        this.#current = pair;
        this.#log.info({ certFile: this.#files.certFile }, 'the TLS certificate was replaced');
        for (const tell of this.#listeners) tell(pair);
      } catch (error) {
        this.#log.warn({ error: messageOf(error) }, 'keeping the old TLS certificate');
      }
    });
    await this.#checking;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#listeners.clear();
  }
}

async function read({ certFile, keyFile }: TlsFiles): Promise<TlsPair> {
  const [cert, key] = await Promise.all([text(certFile), text(keyFile)]);
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    throw new WormholeError(
      'CONFIG_INVALID',
      `${certFile} and ${keyFile} are not a certificate and its key in PEM (${(error as NodeJS.ErrnoException).code ?? 'unreadable'})`,
    );
  }
  return { cert, key };
}

async function text(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new WormholeError('CONFIG_INVALID', `cannot read ${file}: ${messageOf(error)}`, { cause: error });
  }
}
