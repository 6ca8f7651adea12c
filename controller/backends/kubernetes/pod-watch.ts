import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { z } from 'zod';
import { messageOf } from '../../errors.ts';
import type { ApiClient } from './api-client.ts';
import { orGone } from './absent.ts';
import { ApiError, refusal } from './api-error.ts';
import { listAll } from './list-all.ts';
import { podSchema, type Pod } from './objects.ts';

/** What the API server says about the pods of one namespace. */
export type PodChange =
  /** All of them at one moment. */
  | { readonly kind: 'listed'; readonly pods: readonly Pod[] }
  | { readonly kind: 'changed' | 'deleted'; readonly pod: Pod };

export interface PodWatchOptions {
  readonly api: Pick<ApiClient, 'send' | 'stream'>;
  readonly namespace: string;
  readonly labelSelector: string;
  readonly onChange: (change: PodChange) => void;
  readonly log: Logger;
  /**
   * A connection lasts this long, and up to half as long again; the next one goes on where it ended. So a connection
   * that is dead without anybody saying so delays what happened by no more.
   * @default 20000
   */
  readonly connectionMs?: number;
  /**
   * The pods are listed anew this often, give or take, in case that a change was never told.
   * @default 300000
   */
  readonly relistMs?: number;
}

const DEFAULT_CONNECTION_MS = 20_000;
const DEFAULT_RELIST_MS = 300_000;
/** What the server's end of a connection may come later than the time that it was given. */
const LATE_MS = 3_000;
const SHORTEST_CONNECTION_MS = 500;
const FIRST_BACKOFF_MS = 100;
const LONGEST_BACKOFF_MS = 3_000;
const EXPIRED = 410;

const eventSchema = z.object({ type: z.string(), object: z.unknown() });
const bookmarkSchema = z.object({ metadata: z.object({ resourceVersion: z.string() }) });

/**
 * Follows the pods of one namespace until it is closed: a list, then a watch from there, again from where it ended.
 * Whatever goes wrong it lists again, so nothing that still shows is missed; a change may be told more than once.
 * https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
 */
export class PodWatch {
  readonly #options: PodWatchOptions;
  readonly #closed = new AbortController();
  readonly #done: Promise<void>;
  #connection = new AbortController();
  #relistWanted = true;
  #listed = Promise.withResolvers<undefined>();
  readonly #first = Promise.withResolvers<undefined>();

  constructor(options: PodWatchOptions) {
    this.#options = options;
    this.#done = this.#follow();
  }

  /** Resolves when the pods were listed for the first time. @throws {Error} when that takes more than `withinMs`. */
  async synced(withinMs: number): Promise<void> {
    await this.#within(this.#first.promise, withinMs);
  }

  /** Resolves when a list that began after this call was told. @throws {Error} as `synced`. */
  async relist(withinMs: number): Promise<void> {
    this.#relistWanted = true;
    this.#connection.abort();
    await this.#within(this.#listed.promise, withinMs);
  }

  async #within(promise: Promise<undefined>, ms: number): Promise<void> {
    const over = AbortSignal.any([this.#closed.signal, AbortSignal.timeout(ms)]);
    const late = Promise.withResolvers<never>();
    const expire = (): void =>
      late.reject(new Error(`the pods of namespace "${this.#options.namespace}" cannot be listed now`));
    over.addEventListener('abort', expire, { once: true });
    try {
      await Promise.race([promise, late.promise]);
    } finally {
      over.removeEventListener('abort', expire);
    }
  }

  async close(): Promise<void> {
    this.#closed.abort();
    this.#connection.abort();
    await this.#done;
  }

  async #follow(): Promise<void> {
    const { namespace, log, relistMs = DEFAULT_RELIST_MS } = this.#options;
    const { signal } = this.#closed;
    const isClosed = (): boolean => signal.aborted;
    let version = '';
    let relistAt = 0;
    let failures = 0;
    while (!isClosed()) {
      this.#connection = new AbortController();
      try {
        if (this.#relistWanted || performance.now() >= relistAt) {
          version = await this.#list();
          relistAt = performance.now() + relistMs * (0.75 + Math.random() / 2);
        }
        const openedAt = performance.now();
        for await (const next of this.#watch(version)) {
          version = next;
          failures = 0;
        }
        if (performance.now() - openedAt < SHORTEST_CONNECTION_MS) throw new Error('the watch ended at once');
        failures = 0;
      } catch (error) {
        if (isClosed()) return;
        // Somebody asked for a list.
        if (this.#connection.signal.aborted) continue;
        this.#relistWanted = true;
        failures += 1;
        if (error instanceof ApiError && error.status === EXPIRED && failures === 1) continue;
        const waitMs =
          Math.min(FIRST_BACKOFF_MS * 2 ** (failures - 1), LONGEST_BACKOFF_MS) * (0.5 + Math.random() / 2);
        log.warn(
          { namespace, error: messageOf(error), failures, waitMs },
          'lost sight of the pods of a namespace; looking again',
        );
        await delay(waitMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  async #list(): Promise<string> {
    const { api, namespace, labelSelector, onChange } = this.#options;
    this.#relistWanted = false;
    const listed = this.#listed;
    this.#listed = Promise.withResolvers();
    try {
      const call = { path: podsPath(namespace), query: { labelSelector }, signal: this.#closed.signal };
      const found = await orGone(api, namespace, listAll(api, podSchema, call));
      onChange({ kind: 'listed', pods: found?.items ?? [] });
      listed.resolve(undefined);
      this.#first.resolve(undefined);
      // Looked for again, less and less often: it may come back.
      if (found === undefined) throw new Error('the namespace is gone');
      return found.resourceVersion;
    } catch (error) {
      // Who waits for a list gets the next one.
      void this.#listed.promise.then(() => listed.resolve(undefined));
      throw error;
    }
  }

  /** One connection. Yields the version up to which all was told; ends when its time is over. */
  async *#watch(version: string): AsyncGenerator<string, void, undefined> {
    const { api, namespace, labelSelector, connectionMs = DEFAULT_CONNECTION_MS } = this.#options;
    const lifeMs = connectionMs * (1 + Math.random() / 2);
    const late = AbortSignal.timeout(Math.ceil(lifeMs) + LATE_MS);
    const query = {
      ...{ watch: true, allowWatchBookmarks: true, resourceVersion: version, labelSelector },
      timeoutSeconds: Math.ceil(lifeMs / 1000),
    };
    const signal = AbortSignal.any([this.#connection.signal, late]);
    const events = api.stream({ path: podsPath(namespace), query, signal });
    try {
      for await (const event of events) yield this.#tell(event);
    } catch (error) {
      // Silent beyond its time: the next connection tells what this one should have.
      if (!late.aborted || this.#connection.signal.aborted) throw error;
    }
  }

  #tell(event: unknown): string {
    const { onChange } = this.#options;
    const { type, object } = eventSchema.parse(event);
    switch (type) {
      case 'ADDED':
      case 'MODIFIED':
      case 'DELETED': {
        const pod = podSchema.parse(object);
        onChange({ kind: type === 'DELETED' ? 'deleted' : 'changed', pod });
        return pod.metadata.resourceVersion;
      }
      case 'BOOKMARK':
        return bookmarkSchema.parse(object).metadata.resourceVersion;
      default:
        throw refusal(0, object, 'watching pods');
    }
  }
}

const podsPath = (namespace: string): string => `/api/v1/namespaces/${namespace}/pods`;
