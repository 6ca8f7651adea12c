import { request, Agent, type RequestOptions } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { json } from 'node:stream/consumers';
import type { KubeConfig } from '@kubernetes/client-node';
import { messageOf } from '../../errors.ts';
import { ApiError, refusal } from './api-error.ts';

/** A request that took this long is given up; whether it had an effect is then unknown. */
const REQUEST_TIMEOUT_MS = 10_000;
/** A peer that is gone without a word is noticed by the kernel this long after its last one. */
const KEEP_ALIVE_MS = 10_000;

type Method = 'GET' | 'POST' | 'DELETE';
type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** One request to the API server. */
export interface ApiRequest {
  readonly method?: Method;
  /** e.g. `/api/v1/namespaces`. */
  readonly path: string;
  readonly query?: Query;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  /** @default 10000 */
  readonly timeoutMs?: number;
}

/**
 * Sends requests to a cluster's API server: with the credentials of a kubeconfig, which the client library keeps fresh,
 * over connections that are kept. The library's own API classes make a connection for every request. Nothing is
 * throttled here; who sends decides how much.
 */
export class ApiClient {
  readonly #config: KubeConfig;
  readonly #server: URL;
  readonly #agent = new Agent({ keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS, scheduling: 'lifo' });

  /** @throws {TypeError} when the kubeconfig names no cluster. */
  constructor(config: KubeConfig) {
    const server = config.getCurrentCluster()?.server;
    if (server === undefined) throw new TypeError('the kubeconfig has no current context with a cluster');
    this.#config = config;
    this.#server = new URL(server);
  }

  /** @returns the answer's JSON. @throws {ApiError} */
  async send(call: ApiRequest): Promise<unknown> {
    const timeout = AbortSignal.timeout(call.timeoutMs ?? REQUEST_TIMEOUT_MS);
    const signal = call.signal === undefined ? timeout : AbortSignal.any([call.signal, timeout]);
    const what = describe(call);
    try {
      const response = await this.#open(call, signal);
      return await content(response, what);
    } catch (error) {
      if (timeout.aborted) this.#dropIdle();
      throw unanswered(error, what);
    }
  }

  /**
   * @returns the lines of an answer that goes on, parsed, until it ends or `signal` aborts. `timeoutMs` is for its beginning.
   * @throws {ApiError}
   */
  async *stream(
    call: ApiRequest & { readonly signal: AbortSignal },
  ): AsyncGenerator<unknown, void, undefined> {
    const what = describe(call);
    const silent = new AbortController();
    const timer = setTimeout(() => silent.abort(), call.timeoutMs ?? REQUEST_TIMEOUT_MS);
    try {
      const response = await this.#open(call, AbortSignal.any([call.signal, silent.signal]));
      clearTimeout(timer);
      if (response.statusCode !== 200) {
        await content(response, what);
        return;
      }
      yield* documents(response);
    } catch (error) {
      if (silent.signal.aborted) this.#dropIdle();
      throw unanswered(error, what);
    } finally {
      clearTimeout(timer);
    }
  }

  async #open(call: ApiRequest, signal: AbortSignal): Promise<IncomingMessage> {
    const security: RequestOptions = {};
    // The library types this for WebSocket options, whose part of interest is that of a request.
    await this.#config.applyToHTTPSOptions(security as Parameters<KubeConfig['applyToHTTPSOptions']>[0]);
    const body = call.body === undefined ? undefined : JSON.stringify(call.body);
    const options: RequestOptions = {
      ...security,
      agent: this.#agent,
      method: call.method ?? 'GET',
      signal,
      headers: {
        ...(security.headers as Readonly<Record<string, string>> | undefined),
        accept: 'application/json',
        ...(body === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
      },
    };
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    request(this.#url(call), options, resolve).on('error', reject).end(body);
    return await promise;
  }

  #url({ path, query = {} }: ApiRequest): URL {
    const url = new URL(this.#server.pathname.replace(/\/$/, '') + path, this.#server);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    return url;
  }

  /** After a timeout: other connections to the same peer are likely as dead, and the next request must not get one. */
  #dropIdle(): void {
    for (const socket of Object.values(this.#agent.freeSockets).flat()) socket?.destroy();
  }

  /** Drops all connections. */
  close(): void {
    this.#agent.destroy();
  }
}

async function* documents(response: IncomingMessage): AsyncGenerator<unknown, void, undefined> {
  response.setEncoding('utf8');
  let rest = '';
  try {
    for await (const chunk of response as AsyncIterable<string>) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) if (line !== '') yield JSON.parse(line) as unknown;
    }
  } finally {
    // One that ended by itself leaves its connection for the next request.
    if (!response.complete) response.destroy();
  }
}

const describe = ({ method = 'GET', path }: ApiRequest): string => `${method} ${path}`;

async function content(response: IncomingMessage, what: string): Promise<unknown> {
  const status = response.statusCode ?? 0;
  const isJson = response.headers['content-type']?.startsWith('application/json') === true;
  // Something in between may answer in words of its own.
  const body = isJson ? await json(response) : void response.resume();
  if (status >= 200 && status < 300) return body;
  throw refusal(status, body, what, Number(response.headers['retry-after'] ?? Number.NaN));
}

const unanswered = (error: unknown, what: string): ApiError =>
  error instanceof ApiError
    ? error
    : new ApiError(`${what}: the API server did not answer (${messageOf(error)})`, {
        status: null,
        cause: error,
      });
