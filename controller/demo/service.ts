import { randomBytes, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StoredCredentials } from '../model/connection.ts';

/** The name and port under which the sample workflows reach the service. */
export const DEMO_HOST = 'crm.demo.internal';
export const DEMO_PORT = 80;

const CONTACTS = ['Ada Lovelace', 'Grace Hopper', 'Katherine Johnson', 'Radia Perlman', 'Barbara Liskov'].map(
  (name, index) => ({
    id: 100 + index,
    name,
    email: `${name.split(' ')[0]?.toLowerCase() ?? ''}@example.com`,
  }),
);
const CONTACTS_PER_PAGE = 2;
const LONGEST_WAIT_MS = 120_000;
const LARGEST_BODY_MB = 3;
const MEGABYTE = 1_000_000;

/** A small CRM on this machine that the sample workflows call. */
export interface DemoService {
  readonly address: string;
  readonly port: number;
  /** What a tenant needs to call it, by connection key; made anew at every start. */
  readonly connections: Readonly<Record<string, StoredCredentials>>;
  /** Ends all that is open. */
  stop(): Promise<void>;
}

/**
 * Starts the service on a free port.
 * @param listenAddress an address of this machine.
 *
 * | endpoint | auth | what it does |
 * | --- | --- | --- |
 * | `GET /contacts?page=` | API key | two contacts a page, `next` is the next page or null |
 * | `POST /invoices` | basic | creates one; a repeated `Idempotency-Key` gets the first one back |
 * | `POST /oauth/token` | client | a token for the client credentials grant (RFC 6749 §4.4) |
 * | `GET /reports/revenue` | bearer | a report |
 * | `POST /events` | custom header | takes an event |
 * | `POST /orders` | – | refuses every quantity below 1 with 422 |
 * | `GET /flaky?failures=` | – | 503 that often for one `Idempotency-Key`, then 200 |
 * | `GET /slow?ms=` | – | answers after that long |
 * | `GET /export?mb=` | – | that many megabytes of JSON |
 */
export async function startDemoService(listenAddress = '127.0.0.1'): Promise<DemoService> {
  const secrets = makeSecrets();
  const endpoints = makeEndpoints(secrets);
  const server = createServer((request, response) => {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    answer(endpoints, request, gone.signal)
      .catch((error: unknown) => {
        if (error instanceof Refusal) return error.reply;
        throw error;
      })
      .then(
        (reply) => send(response, reply),
        () => response.destroy(),
      );
  });
  server.listen(0, listenAddress);
  await once(server, 'listening');
  const { address, port } = server.address() as AddressInfo;
  return {
    address,
    port,
    connections: connectionsFor(secrets),
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

interface Secrets {
  readonly apiKey: string;
  readonly password: string;
  readonly clientSecret: string;
  readonly accessToken: string;
  readonly webhookToken: string;
}

const makeSecret = (): string => randomBytes(24).toString('base64url');

const makeSecrets = (): Secrets => ({
  apiKey: makeSecret(),
  password: makeSecret(),
  clientSecret: makeSecret(),
  accessToken: makeSecret(),
  webhookToken: makeSecret(),
});

const BILLING_USER = 'billing';
const OAUTH_CLIENT = 'wormhole-demo';

const connectionsFor = (secrets: Secrets): Record<string, StoredCredentials> => ({
  crm: { kind: 'API_KEY', in: 'header', name: 'X-API-Key', value: secrets.apiKey },
  billing: { kind: 'BASIC', username: BILLING_USER, password: secrets.password },
  reports: {
    kind: 'OAUTH2',
    tokenUrl: `http://${DEMO_HOST}/oauth/token`,
    clientId: OAUTH_CLIENT,
    clientSecret: secrets.clientSecret,
  },
  events: { kind: 'CUSTOM_HEADER', headers: { 'X-Webhook-Token': secrets.webhookToken } },
});

interface Reply {
  readonly status: number;
  readonly body: unknown;
}

class Refusal extends Error {
  readonly reply: Reply;

  constructor(status: number, message: string) {
    super(message);
    this.reply = { status, body: { error: message } };
  }
}

interface Call {
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
  /** Equal for every try of one step of one run. */
  readonly idempotencyKey: string;
  /** Aborts when the caller hangs up. */
  readonly signal: AbortSignal;
}

type Endpoint = (call: Call) => Reply | Promise<Reply>;

function makeEndpoints(secrets: Secrets): Map<string, Endpoint> {
  const basic = Buffer.from(`${BILLING_USER}:${secrets.password}`).toString('base64');
  const invoices = new Map<string, unknown>();
  const failures = new Map<string, number>();

  return new Map<string, Endpoint>([
    [
      'GET /contacts',
      ({ headers, query }) => {
        authenticate(headers['x-api-key'], secrets.apiKey);
        const page = numberIn(query, 'page', 1, 1, 1000);
        const end = page * CONTACTS_PER_PAGE;
        const items = CONTACTS.slice(end - CONTACTS_PER_PAGE, end);
        return ok({ items, page, total: CONTACTS.length, next: end < CONTACTS.length ? page + 1 : null });
      },
    ],
    [
      'POST /invoices',
      ({ headers, body, idempotencyKey }) => {
        authenticate(headers.authorization, `Basic ${basic}`);
        const made = { id: `inv-${invoices.size + 1}`, ...parseObject(body) };
        const invoice = invoices.get(idempotencyKey) ?? made;
        invoices.set(idempotencyKey, invoice);
        return { status: 201, body: invoice };
      },
    ],
    [
      'POST /oauth/token',
      ({ headers, body }) => {
        const form = new URLSearchParams(body);
        if (form.get('grant_type') !== 'client_credentials') throw new Refusal(400, 'unsupported_grant_type');
        const client = Buffer.from(`${OAUTH_CLIENT}:${secrets.clientSecret}`).toString('base64');
        if (headers.authorization === undefined)
          authenticate(form.get('client_secret'), secrets.clientSecret);
        else authenticate(headers.authorization, `Basic ${client}`);
        return ok({ access_token: secrets.accessToken, token_type: 'Bearer', expires_in: 300 });
      },
    ],
    [
      'GET /reports/revenue',
      ({ headers }) => {
        authenticate(headers.authorization, `Bearer ${secrets.accessToken}`);
        return ok({ currency: 'EUR', months: [1200, 1350, 1280], total: 3830 });
      },
    ],
    [
      'POST /events',
      ({ headers, body }) => {
        authenticate(headers['x-webhook-token'], secrets.webhookToken);
        return { status: 202, body: { accepted: true, event: parseObject(body)['event'] ?? null } };
      },
    ],
    [
      'POST /orders',
      ({ body }) => {
        const { quantity } = parseObject(body);
        if (typeof quantity !== 'number' || quantity < 1)
          throw new Refusal(422, 'quantity must be at least 1');
        return { status: 201, body: { id: 'order-1', quantity } };
      },
    ],
    [
      'GET /flaky',
      ({ query, idempotencyKey }) => {
        const failed = failures.get(idempotencyKey) ?? 0;
        if (failed >= numberIn(query, 'failures', 2, 0, 20)) return ok({ failedBefore: failed });
        failures.set(idempotencyKey, failed + 1);
        throw new Refusal(503, `failure ${failed + 1}; try again`);
      },
    ],
    [
      'GET /slow',
      async ({ query, signal }) => {
        const ms = numberIn(query, 'ms', 1000, 0, LONGEST_WAIT_MS);
        await sleep(ms, undefined, { signal });
        return ok({ waitedMs: ms });
      },
    ],
    [
      'GET /export',
      ({ query }) => ok({ rows: 'x'.repeat(numberIn(query, 'mb', 1, 1, LARGEST_BODY_MB) * MEGABYTE) }),
    ],
  ]);
}

async function answer(
  endpoints: ReadonlyMap<string, Endpoint>,
  request: IncomingMessage,
  signal: AbortSignal,
): Promise<Reply> {
  const url = new URL(request.url ?? '/', `http://${DEMO_HOST}`);
  const endpoint = endpoints.get(`${request.method ?? ''} ${url.pathname}`);
  const body = await text(request);
  if (endpoint === undefined) throw new Refusal(404, `nothing at ${url.pathname}`);
  const idempotencyKey = request.headers['idempotency-key'];
  return endpoint({
    query: url.searchParams,
    headers: request.headers,
    body,
    idempotencyKey: typeof idempotencyKey === 'string' ? idempotencyKey : '',
    signal,
  });
}

function send(response: ServerResponse, reply: Reply): void {
  response.writeHead(reply.status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(reply.body));
}

const ok = (body: unknown): Reply => ({ status: 200, body });

function authenticate(given: string | string[] | null | undefined, wanted: string): void {
  const offered = Buffer.from(typeof given === 'string' ? given : '');
  const secret = Buffer.from(wanted);
  if (offered.length !== secret.length || !timingSafeEqual(offered, secret)) {
    throw new Refusal(401, 'wrong or missing credentials');
  }
}

function numberIn(
  query: URLSearchParams,
  name: string,
  fallback: number,
  least: number,
  most: number,
): number {
  const value = Number(query.get(name) ?? fallback);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new Refusal(400, `${name} must be a whole number from ${least} to ${most}`);
}

function parseObject(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value === 'object' && value !== null) return { ...value };
  } catch {
    // Falls through to the refusal, as every other body that is no object.
  }
  throw new Refusal(400, 'the body must be a JSON object');
}
