import { createServer as createHttpServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';

/** A request as it arrived on the far side. */
export interface Arrival {
  readonly method: string;
  readonly url: string;
  readonly rawHeaders: readonly string[];
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** A server on loopback for one test, which counts what arrives. */
export interface FarSide {
  readonly port: number;
  readonly connections: () => number;
  readonly arrivals: Arrival[];
}

async function listen(server: Server): Promise<{ port: number; connections: () => number }> {
  const sockets = new Set<Socket>();
  let connections = 0;
  server.on('connection', (socket: Socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  return { port: (server.address() as AddressInfo).port, connections: () => connections };
}

/** @param listener answers; by default with 200 and the body `hello`, after the whole request arrived. */
export async function startHttp(listener?: RequestListener): Promise<FarSide> {
  const arrivals: Arrival[] = [];
  const server = createHttpServer({ keepAlive: true, maxHeaderSize: 128 * 1024 }, (request, response) => {
    if (listener !== undefined) {
      listener(request, response);
      return;
    }
    void text(request).then((body) => {
      const { method = '', url = '', rawHeaders, headers } = request;
      arrivals.push({ method, url, rawHeaders, headers, body });
      response.end('hello');
    });
  });
  server.maxHeadersCount = 0;
  return { ...(await listen(server)), arrivals };
}

/** A TCP server that does with each connection what the test wants. */
export async function startTcp(onConnection: (socket: Socket) => void): Promise<FarSide> {
  const server = createServer({ allowHalfOpen: true }, onConnection);
  return { ...(await listen(server)), arrivals: [] };
}
