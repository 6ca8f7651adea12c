import { STATUS_CODES, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { EgressRefusal } from './reasons.ts';

/** The header that tells the proxy's own answers from the far side's; it is removed from what the far side sends. */
export const DENIED_HEADER = 'Wormhole-Egress-Denied';

const bodyOf = (refusal: EgressRefusal): string =>
  `${JSON.stringify({ error: { code: refusal.code, reason: refusal.reason, message: refusal.message } })}\n`;

const headersOf = (refusal: EgressRefusal, body: string): Record<string, string> => ({
  [DENIED_HEADER]: refusal.reason,
  'Content-Type': 'application/json',
  'Content-Length': String(Buffer.byteLength(body)),
  ...(refusal.status === 407 ? { 'Proxy-Authenticate': 'Bearer realm="wormhole-egress"' } : {}),
});

/** Answers a request with a refusal. After the first byte of a response there is only closing. */
export function denyResponse(response: ServerResponse, refusal: EgressRefusal): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const body = bodyOf(refusal);
  // A body that nobody read must not be taken for the next request.
  if (!response.req.complete) response.shouldKeepAlive = false;
  response.writeHead(refusal.status, headersOf(refusal, body)).end(body);
}

/** Answers on a socket that no ServerResponse belongs to, and closes it. */
export function denySocket(socket: Duplex, refusal: EgressRefusal): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const body = bodyOf(refusal);
  const lines = [
    `HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status] ?? ''}`,
    ...Object.entries(headersOf(refusal, body)).map(([name, value]) => `${name}: ${value}`),
    'Connection: close',
  ];
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}
