import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { ConnectionLimits } from '../connection-limits.ts';
import { Pipelining } from '../pipelining.ts';
import type { TlsCredentials, TlsPair } from './tls-credentials.ts';

export interface TlsListenerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Read again by themselves; a new certificate is for new connections. Closed by whoever opened them. */
  readonly credentials: TlsCredentials;
}

/** A port with TLS. */
export interface TlsListener {
  readonly port: number;
  /**
   * Tells who asks for something to come back elsewhere, until nobody is connected or `drainMs` are over; then stops
   * listening, and cuts off who is left.
   */
  close(options: { readonly drainMs: number }): Promise<void>;
}

/** @param prove whether the request's connection may be the attempt's, which has proven that it sent the request. */
export type TlsHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  prove: (attempt: string) => boolean,
) => Promise<void>;

const REQUEST_TIMEOUT_MS = 30_000;
const HEADERS_TIMEOUT_MS = 10_000;
const HANDSHAKE_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 60_000;
/** Two tokens, and a few headers beside them. */
const HEADER_BYTES = 16 * 1024;
/** One for each run and some that are being replaced; more runs need more gateways. */
const MAX_CONNECTIONS = 4096;
/**
 * A runner has one connection, and proves it within milliseconds: 16 are for the pods of a node that share an address
 * and start at once; who is turned away there tries again. A quarter of all for those that proved nothing leaves the
 * others to runners at work, and takes 64 pods that mean harm to fill, which then make room for any that has fewer.
 */
const CONNECTION_LIMITS = {
  perAttempt: 8,
  unprovenPerAddress: 16,
  unproven: MAX_CONNECTIONS / 4,
  proofTimeoutMs: 15_000,
};
/**
 * A runner waits for each answer. The second is for one that had its answer before Node knew that it was sent; before
 * there is proof, there is none.
 */
const WAITING_REQUESTS = 2;

/** Listens with TLS 1.2 or newer. `handle` never rejects. */
export async function listenOnTls(options: TlsListenerOptions, handle: TlsHandler): Promise<TlsListener> {
  const { credentials, host, port } = options;
  const limits = new ConnectionLimits(CONNECTION_LIMITS);
  const pipelining = new Pipelining();
  const open = new Set<Socket>();
  const drained = new AbortController();
  let draining = false;

  const server = createServer(
    {
      ...secured(credentials.current),
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: HEADER_BYTES,
    },
    (request, response) => {
      const most = limits.isProven(request.socket) ? WAITING_REQUESTS : 1;
      if (!pipelining.begin(request, response, most)) return;
      if (draining) response.setHeader('connection', 'close');
      void handle(request, response, (attempt) => limits.prove(request.socket, attempt));
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => {
      open.delete(socket);
      if (draining && open.size === 0) drained.abort();
    });
    limits.admit(socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const forget = credentials.onChange((pair) => server.setSecureContext(secured(pair)));

  return {
    port: (server.address() as AddressInfo).port,
    close: async ({ drainMs }) => {
      draining = true;
      if (open.size > 0) await delay(drainMs, undefined, { signal: drained.signal }).catch(() => undefined);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of open) socket.destroy();
      await closed;
      forget();
    },
  };
}

const secured = ({ cert, key }: TlsPair) => ({ cert, key, minVersion: 'TLSv1.2' }) as const;
