import type { IncomingMessage } from 'node:http';
import { parseAuthority, parseHost } from './host.ts';
import { EgressRefusal } from './reasons.ts';

/** What a request to the proxy asks for. */
export interface Target {
  /** Normalised: a name, or an address without brackets. */
  readonly host: string;
  readonly port: number;
  /** Path and query as the run wrote them; empty for CONNECT. */
  readonly path: string;
}

const ABSOLUTE_FORM = /^http:\/\/([^/?#]+)((?:[/?][^#]*)?)$/i;
const NOT_ASCII = /[^!-~]/;
const HTTP_PORT = 80;

/**
 * Reads the target of a CONNECT (`host:port`) or of a plain request in absolute form (RFC 9112 §3.2), and refuses what
 * two parties could understand differently. The path is not touched, so that signed requests stay valid.
 * @throws {EgressRefusal} REQUEST_INVALID, HOST_INVALID or HOST_MISMATCH.
 */
export function readTarget(request: IncomingMessage): Target {
  if (request.httpVersion !== '1.1' && request.httpVersion !== '1.0') {
    throw new EgressRefusal('REQUEST_INVALID', 'the egress proxy speaks HTTP/1.1');
  }
  const target = request.method === 'CONNECT' ? readAuthorityForm(request) : readAbsoluteForm(request);
  checkHostHeader(request, target);
  return target;
}

function readAuthorityForm(request: IncomingMessage): Target {
  const { headers } = request;
  if (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined) {
    throw new EgressRefusal('REQUEST_INVALID', 'a CONNECT request has no body');
  }
  return { ...readAuthority(request.url ?? '', null), path: '' };
}

function readAbsoluteForm(request: IncomingMessage): Target {
  const coding = request.headers['transfer-encoding'];
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') {
    throw new EgressRefusal('REQUEST_INVALID', 'the only transfer coding of a request is "chunked"');
  }
  const [, authority, path] = ABSOLUTE_FORM.exec(request.url ?? '') ?? [];
  if (authority === undefined || path === undefined || NOT_ASCII.test(path)) {
    throw new EgressRefusal(
      'REQUEST_INVALID',
      'the request target must be an absolute "http://" URL without a fragment; "https://" needs CONNECT',
    );
  }
  return { ...readAuthority(authority, HTTP_PORT), path: path.startsWith('/') ? path : `/${path}` };
}

function readAuthority(text: string, defaultPort: number | null): Pick<Target, 'host' | 'port'> {
  // The parser reads bytes as Latin-1: an internationalised name must come as punycode.
  const authority = NOT_ASCII.test(text) ? null : parseAuthority(text);
  const host = authority === null ? null : parseHost(authority.host);
  const port = authority?.port ?? defaultPort;
  if (host === null || port === null) {
    throw new EgressRefusal(
      'HOST_INVALID',
      'the target must name a host, and CONNECT a port, without user information',
    );
  }
  return { host: host.text, port };
}

function checkHostHeader(request: IncomingMessage, target: Target): void {
  const values = request.headersDistinct['host'] ?? [];
  if (values.length === 0 && request.httpVersion === '1.0') return;
  const [value, ...others] = values;
  if (value === undefined || others.length > 0) {
    throw new EgressRefusal('REQUEST_INVALID', 'a request has exactly one Host header');
  }
  const authority = parseAuthority(value);
  const host = authority === null ? null : parseHost(authority.host);
  const port = authority?.port ?? (request.method === 'CONNECT' ? target.port : HTTP_PORT);
  if (host?.text !== target.host || port !== target.port) {
    throw new EgressRefusal('HOST_MISMATCH', 'the Host header names another host than the request target');
  }
}
