import { chmod, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import fastify, { type FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import type { z } from 'zod';
import { messageOf, WormholeError, type ErrorCode } from '../errors.ts';
import { attemptName, type AttemptRef } from '../model/ids.ts';
import { LIMITS } from '../model/limits.ts';
import type { ClaimProof } from '../store/claim-proof.ts';
import { isDatabaseUnavailable } from '../store/database.ts';
import { Pipelining } from '../pipelining.ts';
import type { GatewayMetrics } from '../telemetry/gateway-metrics.ts';
import { claim, type ClaimContext } from './claim.ts';
import type { PodIdentity, RunnerIdentity } from './identity.ts';
import { claimRequestSchema, reportSchema, resultSchema } from './messages.ts';
import type { Reports } from './report.ts';
import { listenOnTls, type TlsListener, type TlsListenerOptions } from './tls-listener.ts';
import { hashToken } from './tokens.ts';
import { Turns } from './turns.ts';

const ROUTES = '/v1/';
/** A runner sends small requests often; one that stalls is cut off. */
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 60_000;
/** One runner needs one connection; a few more for one that is being replaced. */
const MAX_CONNECTIONS = 8;
/** Requests of one attempt, or of one connection on its socket, that wait for the one before them, or are that one. */
const MAX_REQUESTS = 8;

/**
 * The run gateway: `claim`, `report` and `result` (docs/gateway-protocol.md). It keeps nothing in memory that
 * another gateway could not find in PostgreSQL.
 */
export class Gateway {
  readonly #app: FastifyInstance;
  readonly #identities = new WeakMap<IncomingMessage, RunnerIdentity>();
  readonly #refusals = new WeakMap<IncomingMessage, Error>();
  readonly #handled = new WeakMap<IncomingMessage, Promise<object>>();
  readonly #failures = new WeakMap<IncomingMessage, ErrorCode>();

  /** @param metrics counts what is asked and answered. @default - nothing is counted */
  constructor(context: ClaimContext, reports: Reports, log: Logger, metrics?: GatewayMetrics) {
    this.#app = fastify({
      bodyLimit: LIMITS.gatewayBodyBytes,
      requestTimeout: REQUEST_TIMEOUT_MS,
      // A far side may use any name in its data; nothing here copies from a body key by key.
      onProtoPoisoning: 'ignore',
      onConstructorPoisoning: 'ignore',
    });
    this.#app.setErrorHandler((error, request, reply) => {
      const known = asWormholeError(error);
      this.#failures.set(request.raw, known.code);
      if (known.code === 'INTERNAL') log.error({ err: error, url: request.url }, 'the gateway failed');
      if (known.retryAfterMs !== undefined)
        void reply.header('retry-after', Math.ceil(known.retryAfterMs / 1000));
      void reply.status(known.status).send({ error: { code: known.code, message: known.message } });
    });
    this.#app.addHook('onResponse', ({ raw, routeOptions: { url } }, _reply, done) => {
      if (url !== undefined) metrics?.answered(url.slice(ROUTES.length), this.#failures.get(raw) ?? 'OK');
      done();
    });
    // Before a byte of the body is read.
    this.#app.addHook('onRequest', ({ raw }, _reply, done) => done(this.#refusals.get(raw)));
    this.#route('claim', async (from, request, body) => {
      const proof = proofOf(from, request);
      parse(claimRequestSchema, body);
      return await claim(context, from, proof);
    });
    this.#route('report', (from, request, body) =>
      reports.report(from, bearer(request), parse(reportSchema, body)),
    );
    this.#route('result', async (from, request, body) => {
      await reports.result(from, bearer(request), parse(resultSchema, body));
      return {};
    });
  }

  /**
   * Serves one attempt on a Unix socket that only its container sees: the socket is the identity, the tokens must
   * belong to that attempt. Its requests are served one at a time, so that no run keeps the gateway from the others.
   * A stale socket file is replaced.
   * @returns what stops it, and cuts off whoever is connected.
   */
  async listenOn(socketPath: string, ref: AttemptRef): Promise<() => Promise<void>> {
    await this.#app.ready();
    let previous = Promise.resolve();
    const pipelining = new Pipelining();
    const server = createServer(
      { requestTimeout: REQUEST_TIMEOUT_MS, keepAliveTimeout: KEEP_ALIVE_MS },
      (request, response) => {
        if (!pipelining.begin(request, response, MAX_REQUESTS)) return;
        previous = previous.then(() => this.#serve({ ...ref, kind: 'socket' }, request, response));
      },
    );
    server.maxConnections = MAX_CONNECTIONS;
    await rm(socketPath, { force: true });
    await listen(server, socketPath);
    // The runner's user is another one; who can reach the socket at all is decided by the folder's mount.
    await chmod(socketPath, 0o666);
    return async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    };
  }

  /**
   * Serves the pods of a cluster: every request proves by its pod's token which attempt sent it. The requests of an
   * attempt are served one at a time, and only a few may wait.
   */
  async listenOnTls(
    options: TlsListenerOptions & {
      /** @returns whose service account token it is. @throws {WormholeError} TOKEN_REFUSED, IDENTITY_UNAVAILABLE. */
      readonly authenticate: (podToken: string) => Promise<PodIdentity>;
    },
  ): Promise<TlsListener> {
    await this.#app.ready();
    const turns = new Turns(MAX_REQUESTS);
    return await listenOnTls(options, async (request, response, prove) => {
      try {
        const pod = await options.authenticate(podToken(request));
        const attempt = attemptName(pod);
        if (!prove(attempt)) throw tooManyConnections(attempt);
        await turns.take(attempt, () => this.#serve({ ...pod, kind: 'pod' }, request, response));
      } catch (error) {
        this.#refusals.set(request, error as Error);
        response.setHeader('connection', 'close');
        this.#app.routing(request, response);
      }
    });
  }

  async close(): Promise<void> {
    await this.#app.close();
  }

  #route(
    name: string,
    handle: (from: RunnerIdentity, request: IncomingMessage, body: unknown) => Promise<object>,
  ): void {
    this.#app.post(`${ROUTES}${name}`, async ({ raw, body }) => {
      const handled = handle(this.#identityOf(raw), raw, body);
      this.#handled.set(raw, handled);
      return await handled;
    });
  }

  /** Resolves when the request is over: answered, or given up by its runner and no longer worked on. */
  async #serve(from: RunnerIdentity, request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.socket.destroyed) return;
    const over = closed(request, response);
    this.#identities.set(request, from);
    this.#app.routing(request, response);
    await over;
    await this.#handled.get(request)?.catch(() => undefined);
  }

  #identityOf(request: IncomingMessage): RunnerIdentity {
    const from = this.#identities.get(request);
    if (from === undefined) throw new WormholeError('TOKEN_REFUSED', 'the request did not come from a run');
    return from;
  }
}

/** Resolves when the response is closed. One that waits behind others on its connection never is, if that breaks. */
async function closed(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { socket } = request;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      response.off('close', done);
      socket.off('close', done);
      resolve();
    };
    response.on('close', done);
    socket.on('close', done);
  });
}

async function listen(server: Server, socketPath: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** On a socket the claim token proves what a pod's identity proves by itself. */
function proofOf(from: RunnerIdentity, request: IncomingMessage): ClaimProof {
  return from.kind === 'pod'
    ? { kind: 'pod', uid: from.podUid, tenantId: from.tenantId }
    : { kind: 'token', hash: hashToken(bearer(request)) };
}

function podToken(request: IncomingMessage): string {
  const token = request.headers['wormhole-pod-token'];
  if (typeof token === 'string' && token !== '') return token;
  throw new WormholeError(
    'TOKEN_REFUSED',
    'the request has no pod token; send "Wormhole-Pod-Token: <service account token>"',
  );
}

const tooManyConnections = (attempt: string): WormholeError =>
  new WormholeError('TOO_MANY_REQUESTS', `attempt ${attempt} has too many connections; use one`, {
    retryAfterMs: 1000,
  });

function bearer(request: IncomingMessage): string {
  const match = /^Bearer ([A-Za-z0-9_.~+/=-]{1,4096})$/.exec(request.headers.authorization ?? '');
  if (match?.[1] === undefined) {
    throw new WormholeError(
      'TOKEN_REFUSED',
      'the request has no bearer token; send "Authorization: Bearer <token>"',
    );
  }
  return match[1];
}

function parse<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new WormholeError(
    'PAYLOAD_INVALID',
    `${issue?.path.join('.') || 'the body'}: ${issue?.message ?? 'is wrong'}`,
  );
}

const FASTIFY_TOO_LARGE = 'FST_ERR_CTP_BODY_TOO_LARGE';

function asWormholeError(error: unknown): WormholeError {
  if (error instanceof WormholeError) return error;
  const { code, statusCode } = error as { code?: string; statusCode?: number };
  if (code === FASTIFY_TOO_LARGE) {
    return new WormholeError('PAYLOAD_TOO_LARGE', `the body is larger than ${LIMITS.gatewayBodyBytes} bytes`);
  }
  if (statusCode !== undefined && statusCode < 500) {
    return new WormholeError('PAYLOAD_INVALID', messageOf(error));
  }
  if (isDatabaseUnavailable(error)) {
    return new WormholeError('DATABASE_UNAVAILABLE', 'PostgreSQL cannot be reached; try again', {
      cause: error,
    });
  }
  return new WormholeError('INTERNAL', 'the gateway failed', { cause: error });
}
