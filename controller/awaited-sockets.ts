import { watch } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { RunChannels } from './backends/docker/channels.ts';
import { EGRESS_SOCKET, GATEWAY_SOCKET } from './backends/docker/run-folder.ts';
import { BackendError } from './errors.ts';
import { attemptName, type AttemptRef } from './model/ids.ts';

/** Gateway and egress proxy answer within milliseconds, or they are just being started again. */
const DEFAULT_TIMEOUT_MS = 10_000;
/** For what no event tells: a socket that is there and listens a moment later. */
const RETRY_MS = 100;

export interface AwaitedSocketsOptions {
  /** Where each attempt has the folder of its egress socket. */
  readonly egressDir: string;
  /** @default 10000 */
  readonly timeoutMs?: number;
}

/**
 * The sockets of gateway and egress proxy where these are processes of their own: they open them by themselves in every
 * folder of an attempt ({@link FolderSockets}), so here a new attempt only waits for them.
 */
export class AwaitedSockets implements RunChannels {
  readonly #egressDir: string;
  readonly #timeoutMs: number;

  constructor({ egressDir, timeoutMs = DEFAULT_TIMEOUT_MS }: AwaitedSocketsOptions) {
    this.#egressDir = egressDir;
    this.#timeoutMs = timeoutMs;
  }

  /** @throws {BackendError} UNSCHEDULABLE, retryable, when one of them does not listen in time. */
  async open(ref: AttemptRef, folder: string): Promise<void> {
    await Promise.all([
      this.#listens('gateway', folder, GATEWAY_SOCKET),
      this.#listens('egress proxy', join(this.#egressDir, attemptName(ref)), EGRESS_SOCKET),
    ]);
  }

  /** Whoever has them open had them open all the time, or opens them again without being asked. */
  reopen(): Promise<void> {
    return Promise.resolve();
  }

  /** They are closed when the attempt's folder goes. */
  close(): Promise<void> {
    return Promise.resolve();
  }

  async #listens(who: string, folder: string, file: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const path = join(folder, file);
    const look = (): void => {
      const client = connect(path);
      client.once('connect', () => resolve(undefined)).on('error', () => undefined);
      client.once('connect', () => client.destroy());
    };
    const watcher = watch(folder, look).on('error', reject);
    const retry = setInterval(look, RETRY_MS);
    const giveUp = setTimeout(() => {
      reject(
        new BackendError(
          'UNSCHEDULABLE',
          `the ${who} did not open ${path} within ${this.#timeoutMs} ms: is it running, with the same run folder?`,
          { retryable: true },
        ),
      );
    }, this.#timeoutMs);
    look();
    try {
      await promise;
    } finally {
      watcher.close();
      clearInterval(retry);
      clearTimeout(giveUp);
    }
  }
}
