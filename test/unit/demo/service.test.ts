import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startDemoService, type DemoService } from '../../../controller/demo/service.ts';

let service: DemoService;
beforeAll(async () => {
  service = await startDemoService();
});
afterAll(() => service.stop());

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

async function call(path: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(`http://${service.address}:${service.port}${path}`, init);
  return { status: response.status, body: await response.json() };
}

const post = (path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> =>
  call(path, { method: 'POST', headers, body: typeof body === 'string' ? body : JSON.stringify(body) });

describe('asks for credentials', () => {
  test.each([
    ['GET', '/contacts'],
    ['POST', '/invoices'],
    ['GET', '/reports/revenue'],
    ['POST', '/events'],
  ])('%s %s', async (method, path) => {
    expect((await call(path, { method, ...(method === 'POST' && { body: '{}' }) })).status).toBe(401);
  });
});

test('has contacts, page by page, for an API key', async () => {
  const { crm } = service.connections;
  const headers = { 'X-API-Key': crm?.kind === 'API_KEY' ? crm.value : '' };
  const pages: { items: unknown[]; next: number | null }[] = [];
  for (let page: number | null = 1; page !== null; page = pages.at(-1)?.next ?? null) {
    pages.push((await call(`/contacts?page=${page}`, { headers })).body as (typeof pages)[0]);
  }
  expect(pages.map(({ items }) => items.length)).toEqual([2, 2, 1]);
  expect((await call('/contacts?page=x', { headers })).status).toBe(400);
});

test('makes one invoice for one idempotency key', async () => {
  const { billing } = service.connections;
  if (billing?.kind !== 'BASIC') throw new Error('billing is not basic');
  const authorization = `Basic ${Buffer.from(`${billing.username}:${billing.password}`).toString('base64')}`;
  const make = (key: string) => post('/invoices', { amount: 1 }, { authorization, 'Idempotency-Key': key });
  const first = await make('a');
  expect(first.status).toBe(201);
  expect(await make('a')).toEqual(first);
  expect((await make('b')).body).not.toEqual(first.body);
});

test('gives an access token for the client secret, and a report for the token', async () => {
  const { reports } = service.connections;
  if (reports?.kind !== 'OAUTH2') throw new Error('reports is not OAuth2');
  const ask = (secret: string) =>
    post('/oauth/token', 'grant_type=client_credentials', {
      authorization: `Basic ${Buffer.from(`${reports.clientId}:${secret}`).toString('base64')}`,
    });
  expect((await ask('wrong')).status).toBe(401);
  const { access_token: token } = (await ask(reports.clientSecret)).body as { access_token: string };
  const report = await call('/reports/revenue', { headers: { authorization: `Bearer ${token}` } });
  expect(report).toMatchObject({ status: 200, body: { total: 3830 } });
});

test('fails as often as it is asked to, for each idempotency key', async () => {
  const flaky = (key: string) => call('/flaky?failures=2', { headers: { 'Idempotency-Key': key } });
  const statuses = [];
  for (let i = 0; i < 4; i += 1) statuses.push((await flaky('run/step')).status);
  expect(statuses).toEqual([503, 503, 200, 200]);
  expect((await flaky('other/step')).status).toBe(503);
});

test('refuses orders of nothing, bodies that are no object, and what it does not have', async () => {
  expect((await post('/orders', { quantity: 0 })).status).toBe(422);
  expect((await post('/orders', { quantity: 2 })).status).toBe(201);
  expect((await post('/orders', 'nonsense')).status).toBe(400);
  expect((await call('/enrichment/ada')).status).toBe(404);
});

test('has an export of megabytes, within limits', async () => {
  expect(((await call('/export?mb=2')).body as { rows: string }).rows).toHaveLength(2_000_000);
  expect((await call('/export?mb=4')).status).toBe(400);
});

test('that is slow forgets who hung up, and does not keep it from stopping', async () => {
  const own = await startDemoService();
  const slow = fetch(`http://${own.address}:${own.port}/slow?ms=60000`).catch((error: unknown) => error);
  await own.stop();
  expect(await slow).toBeInstanceOf(Error);
});
