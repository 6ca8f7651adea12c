import { chmod, lstat, unlink } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, ListenOptions, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Duplex } from 'node:stream';
import { ConnectionLimits } from '../connection-limits.ts';
import { attemptName, type AttemptRef } from '../model/ids.ts';
import { Pipelining } from '../pipelining.ts';
import { denyResponse, denySocket } from './denial.ts';
import type { Dialer } from './dial.ts';
import { Drops } from './drops.ts';
import { forward } from './forward.ts';
import { verifyGrant, type EgressGrant } from './grant.ts';
import type { InternalService } from './internal-service.ts';
import { EGRESS_LIMITS, type EgressLimits } from './limits.ts';
import { decide, policyRefusal } from './policy.ts';
import { EgressRefusal } from './reasons.ts';
import type { EgressRecord } from './record.ts';
import { readTarget, type Target } from './target.ts';
import { tunnel } from './tunnel.ts';

export interface EgressProxyOptions {
  /** The key with which the gateway signs grants. */
  readonly grantKey: Buffer;
  readonly dialer: Dialer;
  /** Declared by the operator. @default none */
  readonly internalServices?: readonly InternalService[];
  /** Takes every record. If it throws, the request is dropped: what cannot be recorded does not happen. */
  readonly onDecision: (record: EgressRecord) => void;
  /** @default EGRESS_LIMITS */
  readonly limits?: Partial<EgressLimits>;
  /** Milliseconds since the epoch. @default Date.now */
  readonly clock?: () => number;
}

/** Stops listening, and ends every connection that came in; those that do not end by themselves within `drainMs`. */
export type CloseListener = (options?: { readonly drainMs: number }) => Promise<void>;

/** One request: how to answer it, and how to carry it once the far side is connected. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly client: Socket;
  readonly deny: (refusal: EgressRefusal) => void;
  readonly relay: (upstream: Socket, target: Target) => Promise<void>;
}

/** Who connects to a listener. */
interface Source {
  /** The attempt whose socket it is; null: whoever has a grant. */
  readonly identity: AttemptRef | null;
  /** Null where one attempt alone connects. */
  readonly limits: ConnectionLimits | null;
}

type Draft = { -readonly [K in keyof EgressRecord]: EgressRecord[K] };

/** The only way out of a run: plain HTTP and CONNECT, to where the run's grant allows (docs/egress.md). */
export class EgressProxy {
  readonly #grantKey: Buffer;
  readonly #dialer: Dialer;
  readonly #internalServices: readonly InternalService[];
  readonly #onDecision: (record: EgressRecord) => void;
  readonly #limits: EgressLimits;
  readonly #clock: () => number;
  /** Exchanges under way, by attempt. */
  readonly #open = new Map<string, number>();

  constructor(options: EgressProxyOptions) {
    this.#grantKey = options.grantKey;
    this.#dialer = options.dialer;
    this.#internalServices = options.internalServices ?? [];
    this.#onDecision = options.onDecision;
    this.#limits = { ...EGRESS_LIMITS, ...options.limits };
    this.#clock = options.clock ?? Date.now;
  }

  /**
   * Listens on a Unix socket that belongs to one attempt: the grant of any other is refused on it. Every uid may connect
   * (mode 0666); who sees the socket is decided by where it is mounted. A stale one is replaced.
   */
  async listenOn(socketPath: string, identity: AttemptRef): Promise<CloseListener> {
    const stale = await lstat(socketPath).catch(() => null);
    if (stale?.isSocket() === true) await unlink(socketPath);
    // Twice: the first half over the limit is told so, beyond that there is only closing.
    const most = 2 * this.#limits.connectionsPerRun;
    const { close } = await this.#listen({ path: socketPath }, { identity, limits: null }, most);
    await chmod(socketPath, 0o666);
    return close;
  }

  /**
   * Listens on TCP for many runs: the grant alone says whose request it is. A connection that showed none yet has one
   * request, and there are few of those, so that no run keeps the proxy from the others.
   * @returns the port, which matters when 0 was asked for.
   */
  async listenOnTcp(
    host: string,
    port: number,
  ): Promise<{ readonly port: number; readonly close: CloseListener }> {
    const limits = new ConnectionLimits({
      perAttempt: 2 * this.#limits.connectionsPerRun,
      unprovenPerAddress: this.#limits.unprovenPerAddress,
      unproven: this.#limits.unprovenConnections,
      proofTimeoutMs: this.#limits.proofTimeoutMs,
    });
    const source: Source = { identity: null, limits };
    const { server, close } = await this.#listen({ host, port }, source, this.#limits.tcpConnections);
    return { port: (server.address() as AddressInfo).port, close };
  }

  async #listen(
    address: ListenOptions,
    source: Source,
    maxConnections: number,
  ): Promise<{ readonly server: Server; readonly close: CloseListener }> {
    const drops = new Drops((dropped) => {
      const draft = this.#draft(source.identity);
      this.#onDecision({ ...draft, dropped, reason: 'TOO_MANY_CONNECTIONS' });
    }, this.#limits.dropRecordIntervalMs);
    const server = this.#createServer(source, drops);
    server.maxConnections = maxConnections;
    const clients = new Set<Socket>();
    server.on('connection', (client: Socket) => {
      if (source.limits?.admit(client) === false) {
        drops.add();
        return;
      }
      clients.add(client);
      // Each pipelined request listens for the end of its connection; their number is bounded by connectionsPerRun.
      client.setMaxListeners(0);
      client.once('close', () => clients.delete(client));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(address, () => {
        server.off('error', reject);
        resolve();
      });
    });
    const close: CloseListener = async ({ drainMs } = { drainMs: 0 }) => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      if (drainMs > 0) {
        const over = new AbortController();
        const deadline = delay(drainMs, undefined, { signal: over.signal }).catch(() => undefined);
        await Promise.race([closed, deadline]);
        over.abort();
      }
      for (const client of clients) client.destroy();
      await closed;
      drops.close();
    };
    return { server, close };
  }

  #createServer(source: Source, drops: Drops): Server {
    const { identity, limits } = source;
    const server = createServer({
      maxHeaderSize: this.#limits.headerBytes,
      headersTimeout: this.#limits.headersTimeoutMs,
      connectionsCheckingInterval: this.#limits.headersTimeoutMs / 2,
      // A request is bounded by its own timer, together with its answer.
      requestTimeout: 0,
      keepAliveTimeout: this.#limits.keepAliveTimeoutMs,
      // Refused by readTarget, so that it is recorded too.
      requireHostHeader: false,
    });
    // A header beyond a count would be dropped unseen; their size is bounded anyway.
    server.maxHeadersCount = 0;
    const pipelining = new Pipelining();
    const isProven = (client: Socket): boolean => limits?.isProven(client) ?? true;
    const isTaken = (request: IncomingMessage, response: ServerResponse): boolean => {
      const { socket } = request;
      if (socket.destroyed) return false;
      const most = isProven(socket) ? 2 * this.#limits.connectionsPerRun : 1;
      const taken = pipelining.begin(request, response, most);
      if (!taken) drops.add();
      return taken;
    };

    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      if (!isTaken(request, response)) return;
      const client = request.socket;
      this.#start(source, {
        request,
        client,
        deny: (refusal) => {
          if (!isProven(client)) response.shouldKeepAlive = false;
          denyResponse(response, refusal);
        },
        relay: (upstream, target) => forward(request, response, target, upstream, this.#limits.headerBytes),
      });
    });
    server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
      if (!isTaken(request, response)) return;
      const refusal = new EgressRefusal(
        'REQUEST_INVALID',
        'the only expectation of a request is "100-continue"',
      );
      this.#onDecision({ ...this.#draft(identity), method: request.method ?? null, reason: refusal.reason });
      if (!isProven(request.socket)) response.shouldKeepAlive = false;
      denyResponse(response, refusal);
    });
    server.on('connect', (request: IncomingMessage, _client: Duplex, head: Buffer) => {
      const client = request.socket;
      client.on('error', () => client.destroy());
      this.#start(source, {
        request,
        client,
        deny: (refusal) => denySocket(client, refusal),
        relay: (upstream) => tunnel(client, head, upstream),
      });
    });
    server.on('clientError', (error: NodeJS.ErrnoException, client: Duplex) => {
      const refusal = parserRefusal(error);
      if (refusal !== null) this.#onDecision({ ...this.#draft(identity), reason: refusal.reason });
      // In the middle of an answer nothing can be said but by closing.
      if (refusal === null || pipelining.waiting(client) > 0) client.destroy();
      else denySocket(client, refusal);
    });
    server.on('drop', () => drops.add());
    return server;
  }

  #start(source: Source, exchange: Exchange): void {
    this.#serve(source, exchange).catch(() => exchange.client.destroy());
  }

  async #serve({ identity, limits }: Source, { request, client, deny, relay }: Exchange): Promise<void> {
    const draft: Draft = { ...this.#draft(identity), method: request.method ?? null };
    const abort = new AbortController();
    const onClose = (): void =>
      abort.abort(new EgressRefusal('CLIENT_CLOSED', 'the run closed its connection'));
    const cleanups = [() => client.off('close', onClose)] as (() => unknown)[];
    client.once('close', onClose);
    try {
      const target = readTarget(request);
      draft.host = target.host;
      draft.port = target.port;
      const grant = this.#authorize(request, identity);
      draft.tenantId = grant.tenantId;
      draft.runId = grant.runId;
      draft.attempt = grant.attempt;
      if (limits?.prove(client, attemptName(grant)) === false) throw tooManyConnections();
      cleanups.push(this.#occupy(grant), this.#limitTime(grant, abort));

      const decision = decide(grant.policy, target.host, target.port, this.#internalServices);
      if (!decision.allowed) throw policyRefusal(decision.reason, grant.tenantId, target.host, target.port);
      const upstream = await this.#dialer.dial(decision.route, abort.signal);
      cleanups.push(() => upstream.destroy());
      abort.signal.addEventListener('abort', () => upstream.destroy(abort.signal.reason as Error));
      upstream.setTimeout(this.#limits.idleTimeoutMs, () => {
        abort.abort(
          new EgressRefusal('IDLE_TIMEOUT', `nothing was sent for ${this.#limits.idleTimeoutMs} ms`),
        );
      });
      draft.address = upstream.remoteAddress ?? null;
      this.#onDecision({ ...draft, allowed: true });
      draft.allowed = true;
      await relay(upstream, target);
    } catch (error) {
      const refusal =
        error instanceof EgressRefusal
          ? error
          : new EgressRefusal('UPSTREAM_FAILED', 'the connection to the far side broke', { cause: error });
      if (!draft.allowed) this.#onDecision({ ...draft, reason: refusal.reason, address: refusal.address });
      deny(refusal);
    } finally {
      for (const cleanup of cleanups) cleanup();
    }
  }

  #authorize(request: IncomingMessage, identity: AttemptRef | null): EgressGrant {
    const header = request.headers['proxy-authorization'];
    if (header === undefined) {
      throw new EgressRefusal(
        'GRANT_REQUIRED',
        'send the grant of the claim as "Proxy-Authorization: Bearer <grant>"',
      );
    }
    const [, token] = /^bearer +(\S+)$/i.exec(header) ?? [];
    const grant = verifyGrant(this.#grantKey, token ?? '', this.#clock());
    if (identity !== null && (grant.runId !== identity.runId || grant.attempt !== identity.attempt)) {
      throw new EgressRefusal('GRANT_MISMATCH', 'the egress grant belongs to another run or attempt');
    }
    return grant;
  }

  /** @returns what gives the place back. */
  #occupy(grant: EgressGrant): () => void {
    const name = attemptName(grant);
    const open = this.#open.get(name) ?? 0;
    if (open >= this.#limits.connectionsPerRun) {
      throw new EgressRefusal(
        'TOO_MANY_CONNECTIONS',
        `the run has ${open} requests or tunnels open, the most that it may have; close some first`,
      );
    }
    this.#open.set(name, open + 1);
    return () => {
      const left = (this.#open.get(name) ?? 1) - 1;
      if (left === 0) this.#open.delete(name);
      else this.#open.set(name, left);
    };
  }

  /** @returns what stops the timer. */
  #limitTime(grant: EgressGrant, abort: AbortController): () => void {
    const leftMs = Math.min(this.#limits.totalTimeoutMs, grant.expiresAt - this.#clock());
    const timer = setTimeout(() => {
      abort.abort(new EgressRefusal('TOTAL_TIMEOUT', 'the request took too long, or its grant has expired'));
    }, leftMs);
    return () => clearTimeout(timer);
  }

  #draft(identity: AttemptRef | null): EgressRecord {
    return {
      tenantId: null,
      runId: identity?.runId ?? null,
      attempt: identity?.attempt ?? null,
      method: null,
      host: null,
      port: null,
      allowed: false,
      reason: null,
      address: null,
      dropped: null,
      at: new Date(this.#clock()),
    };
  }
}

const tooManyConnections = (): EgressRefusal =>
  new EgressRefusal('TOO_MANY_CONNECTIONS', 'the run has too many connections; close some first');

/** @returns null if no request was made: the client only went away. */
function parserRefusal(error: NodeJS.ErrnoException): EgressRefusal | null {
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return new EgressRefusal('HEADERS_TOO_LARGE', 'the header of the request is too large');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new EgressRefusal('REQUEST_TIMEOUT', 'the header of the request did not arrive in time');
    case 'HPE_INVALID_EOF_STATE':
      return null;
    default:
      if (error.code?.startsWith('HPE_') !== true) return null;
      return new EgressRefusal('REQUEST_INVALID', 'the request is not valid HTTP/1.1');
  }
}
