import { chmod, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import fastify, { type FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import type { z } from 'zod';
import { messageOf, WormholeError } from '../errors.ts';
import type { AttemptRef } from '../model/ids.ts';
import { LIMITS } from '../model/limits.ts';
import { isDatabaseUnavailable } from '../store/database.ts';
import { claim, type ClaimContext } from './claim.ts';
import { claimRequestSchema, reportSchema, resultSchema } from './messages.ts';
import type { Reports } from './report.ts';

/** A runner sends small requests often; one that stalls is cut off. */
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 60_000;
/** One runner needs one connection; a few more for one that is being replaced. */
const MAX_CONNECTIONS = 8;

/**
 * The run gateway: `claim`, `report` and `result` (docs/gateway-protocol.md). It keeps nothing in memory that
 * another gateway could not find in PostgreSQL.
 */
export class Gateway {
  readonly #app: FastifyInstance;
  readonly #identities = new WeakMap<IncomingMessage, AttemptRef>();

  constructor(context: ClaimContext, reports: Reports, log: Logger) {
    this.#app = fastify({
      bodyLimit: LIMITS.gatewayBodyBytes,
      requestTimeout: REQUEST_TIMEOUT_MS,
      // A far side may use any name in its data; nothing here copies from a body key by key.
      onProtoPoisoning: 'ignore',
      onConstructorPoisoning: 'ignore',
    });
    this.#app.setErrorHandler((error, request, reply) => {
      const known = asWormholeError(error);
      if (known.code === 'INTERNAL') log.error({ err: error, url: request.url }, 'the gateway failed');
      if (known.retryAfterMs !== undefined)
        void reply.header('retry-after', Math.ceil(known.retryAfterMs / 1000));
      void reply.status(known.status).send({ error: { code: known.code, message: known.message } });
    });
    this.#app.post('/v1/claim', async (request) => {
      parse(claimRequestSchema, request.body);
      return await claim(context, this.#identityOf(request.raw), bearer(request.raw));
    });
    this.#app.post('/v1/report', async (request) => {
      return await reports.report(
        this.#identityOf(request.raw),
        bearer(request.raw),
        parse(reportSchema, request.body),
      );
    });
    this.#app.post('/v1/result', async (request) => {
      await reports.result(
        this.#identityOf(request.raw),
        bearer(request.raw),
        parse(resultSchema, request.body),
      );
      return {};
    });
  }

  /**
   * Serves one attempt on a Unix socket that only its container sees: the socket is the identity, the tokens must
   * belong to that attempt. A stale socket file is replaced.
   * @returns what stops it, and cuts off whoever is connected.
   */
  async listenOn(socketPath: string, ref: AttemptRef): Promise<() => Promise<void>> {
    await this.#app.ready();
    const server = createServer(
      { requestTimeout: REQUEST_TIMEOUT_MS, keepAliveTimeout: KEEP_ALIVE_MS },
      (request, response) => {
        this.#identities.set(request, ref);
        this.#app.routing(request, response);
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

  async close(): Promise<void> {
    await this.#app.close();
  }

  #identityOf(request: IncomingMessage): AttemptRef {
    const ref = this.#identities.get(request);
    if (ref === undefined) throw new WormholeError('TOKEN_REFUSED', 'the request did not come from a run');
    return ref;
  }
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
