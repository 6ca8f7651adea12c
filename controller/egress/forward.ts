import {
  request as httpRequest,
  type ClientRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { DENIED_HEADER } from './denial.ts';
import { EgressRefusal } from './reasons.ts';
import type { Target } from './target.ts';

/** RFC 9110 §7.6.1 and the headers of proxies. */
const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];

/** Methods whose lack of a body has to be said (RFC 9110 §8.6). */
const METHODS_WITH_BODY = ['POST', 'PUT', 'PATCH'];

/**
 * Sends a plain HTTP request over a connected socket, once, and streams the answer back, both with backpressure.
 * @param headerBytes limit of the far side's header.
 * @throws {EgressRefusal} UPSTREAM_FAILED if no answer came; any error if the connection broke later.
 */
export async function forward(
  request: IncomingMessage,
  response: ServerResponse,
  target: Target,
  upstream: Socket,
  headerBytes: number,
): Promise<void> {
  const outgoing = httpRequest({
    createConnection: () => upstream,
    method: request.method,
    path: target.path,
    headers: requestHeaders(request, target),
    setHost: false,
    maxHeaderSize: headerBytes,
  });
  // A dropped header could be one that we remove or check; the number is bounded by their size already.
  outgoing.maxHeadersCount = 0;
  const answered = answerOf(outgoing, target);
  request.pipe(outgoing);
  const incoming = await answered;
  // The far side may answer before it has read the request; what is left of that is not the next request.
  if (!request.complete) response.shouldKeepAlive = false;
  response.writeHead(incoming.statusCode ?? 502, incoming.statusMessage ?? '', responseHeaders(incoming));
  await pipeline(incoming, response);
}

function answerOf(outgoing: ClientRequest, target: Target): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const fail = (cause?: unknown): void => {
      if (cause instanceof EgressRefusal) reject(cause);
      else
        reject(new EgressRefusal('UPSTREAM_FAILED', `"${target.host}" gave no valid HTTP answer`, { cause }));
    };
    outgoing.once('response', resolve);
    outgoing.on('error', fail);
    outgoing.once('close', fail);
  });
}

/**
 * The framing is written anew from what the parser understood, never copied: exactly one of Content-Length and
 * Transfer-Encoding, whatever the run's header says or has its Connection header strip.
 */
function requestHeaders(request: IncomingMessage, target: Target): string[] {
  const { 'transfer-encoding': coding, 'content-length': length } = request.headers;
  const framing: string[] = [];
  if (coding !== undefined) framing.push('Transfer-Encoding', 'chunked');
  else if (length !== undefined) framing.push('Content-Length', length);
  else if (METHODS_WITH_BODY.includes(request.method ?? '')) framing.push('Content-Length', '0');
  const host = target.host.includes(':') ? `[${target.host}]` : target.host;
  return [
    'Host',
    target.port === 80 ? host : `${host}:${target.port}`,
    ...endToEnd(request, ['host', 'content-length', 'expect']),
    ...framing,
  ];
}

const responseHeaders = (incoming: IncomingMessage): string[] =>
  endToEnd(incoming, [DENIED_HEADER.toLowerCase()]);

/** @returns the raw headers, order and repetition kept, without the hop-by-hop ones and those in `except`. */
function endToEnd(message: IncomingMessage, except: readonly string[]): string[] {
  const nominated = (message.headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase());
  const removed = new Set([...HOP_BY_HOP, ...nominated, ...except]);
  const kept: string[] = [];
  for (let i = 0; i + 1 < message.rawHeaders.length; i += 2) {
    const [name = '', value = ''] = message.rawHeaders.slice(i, i + 2);
    if (!removed.has(name.toLowerCase())) kept.push(name, value);
  }
  return kept;
}
