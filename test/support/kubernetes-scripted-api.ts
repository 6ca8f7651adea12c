import { EventEmitter, on } from 'node:events';
import type { ApiRequest } from '../../controller/backends/kubernetes/api-client.ts';
import { ApiError } from '../../controller/backends/kubernetes/api-error.ts';

/** An API server that says about the pods of one namespace what a test wants it to say. */
export class ScriptedApi {
  /** What a list answers. */
  pods: unknown[] = [];
  lists = 0;
  /** What every request gets; a watch that is open stays silent. */
  refusal: ApiError | undefined;
  /** The resource versions from which watches began. */
  readonly watches: string[] = [];
  readonly #events = new EventEmitter();

  send(call: ApiRequest): Promise<unknown> {
    if (call.query?.['limit'] === undefined) throw new Error(`unexpected ${call.path}`);
    this.lists += 1;
    if (this.refusal !== undefined) return Promise.reject(this.refusal);
    return Promise.resolve({ metadata: { resourceVersion: String(100 * this.lists) }, items: this.pods });
  }

  async *stream(
    call: ApiRequest & { readonly signal: AbortSignal },
  ): AsyncGenerator<unknown, void, undefined> {
    if (this.refusal !== undefined) throw this.refusal;
    this.watches.push(String(call.query?.['resourceVersion']));
    try {
      const events = on(this.#events, 'event', { signal: call.signal, close: ['end'] });
      for await (const [event] of events as AsyncIterable<[unknown]>) yield event;
    } catch (error) {
      throw new ApiError('the watch broke', { status: null, cause: error });
    }
  }

  tell(type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR', object: unknown): void {
    this.#events.emit('event', { type, object });
  }

  /** The server's regular end of a connection. */
  endWatch(): void {
    this.#events.emit('end');
  }

  breakWatch(): void {
    this.#events.emit('error', new Error('connection reset'));
  }
}
