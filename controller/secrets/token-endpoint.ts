import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Dialer } from '../egress/dial.ts';
import type { InternalService } from '../egress/internal-service.ts';
import { decide, policyRefusal } from '../egress/policy.ts';
import { EgressRefusal } from '../egress/reasons.ts';
import type { EgressPolicy } from '../model/tenant.ts';

const RESPONSE_MAX_BYTES = 64 * 1024;

export interface TokenEndpointOptions {
  readonly dialer: Dialer;
  /** Declared by the operator. @default none */
  readonly internalServices?: readonly InternalService[];
  /** Limit of one exchange, from resolving to the last byte. @default 10000 */
  readonly timeoutMs?: number;
}

/** What came back from a token endpoint. */
export interface TokenAnswer {
  readonly status: number;
  readonly text: string;
}

/**
 * Posts to token endpoints. Tenants choose their URLs and the gateway calls them, so they are held to the rules of
 * the egress proxy: public addresses that were checked and are then connected to, or an internal service that the
 * operator declared and the tenant's allowlist names. Redirects are not followed.
 */
export class TokenEndpoint {
  readonly #dialer: Dialer;
  readonly #internalServices: readonly InternalService[];
  readonly #timeoutMs: number;

  constructor(options: TokenEndpointOptions) {
    this.#dialer = options.dialer;
    this.#internalServices = options.internalServices ?? [];
    this.#timeoutMs = options.timeoutMs ?? 10_000;
  }

  /**
   * @throws {EgressRefusal} if the endpoint may not be reached; any error, without secrets, if it could not be.
   */
  async post(
    caller: { readonly tenantId: string; readonly policy: EgressPolicy },
    url: URL,
    headers: Readonly<Record<string, string>>,
    body: string,
  ): Promise<TokenAnswer> {
    const signal = AbortSignal.timeout(this.#timeoutMs);
    const socket = await this.#connect(caller, url, signal);
    try {
      const isTls = url.protocol === 'https:';
      const outgoing = (isTls ? httpsRequest : httpRequest)({
        createConnection: () => (isTls ? secure(socket, url) : socket),
        method: 'POST',
        path: `${url.pathname}${url.search}`,
        headers: { ...headers, Host: url.host, 'Content-Length': Buffer.byteLength(body) },
        signal,
      });
      const answered = answerOf(outgoing);
      outgoing.end(body);
      const incoming = await answered;
      return { status: incoming.statusCode ?? 0, text: await readLimited(incoming) };
    } finally {
      socket.destroy();
    }
  }

  async #connect(
    { tenantId, policy }: { readonly tenantId: string; readonly policy: EgressPolicy },
    url: URL,
    signal: AbortSignal,
  ): Promise<Socket> {
    const isTls = url.protocol === 'https:';
    const host = url.hostname;
    const port = url.port === '' ? (isTls ? 443 : 80) : Number(url.port);
    // Getting a token is not the run's own traffic: public endpoints need no rule, internal ones do.
    const allow = policy.mode === 'deny' ? [] : policy.allow;
    const decision = decide({ mode: 'unrestricted', allow }, host, port, this.#internalServices);
    if (!decision.allowed)
      throw policyRefusal(decision.reason, tenantId, decision.host ?? 'the token URL', port);
    if (!isTls && decision.route.kind !== 'internal') {
      throw new EgressRefusal('HOST_NOT_ALLOWED', 'a token URL must be "https:" (RFC 6749 §3.2)');
    }
    return this.#dialer.dial(decision.route, signal);
  }
}

function secure(socket: Socket, url: URL): Socket {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return connectTls({ socket, host, ...(isIP(host) === 0 ? { servername: host } : {}) });
}

const answerOf = (outgoing: ClientRequest): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    outgoing.once('response', resolve);
    outgoing.on('error', reject);
    outgoing.once('close', () => reject(new Error('the token endpoint closed the connection')));
  });

async function readLimited(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > RESPONSE_MAX_BYTES) throw new Error(`the answer is larger than ${RESPONSE_MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
