// Answers every call, and writes a line for each: who called, and the hash of the credential that came along.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

process.once('SIGTERM', () => process.exit(0));
createServer(async (request, response) => {
  const url = new URL(request.url ?? '/', 'http://far.example.internal');
  const key = String(request.headers['x-api-key'] ?? '');
  const credential = createHash('sha256').update(key).digest('hex');
  process.stdout.write(`${JSON.stringify({ path: url.pathname, credential })}\n`);
  request.resume();
  await sleep(Number(url.searchParams.get('ms') ?? 0));
  response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok":true}');
}).listen(8080);
