import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { InternalService } from '../../controller/egress/internal-service.ts';

/** Under which name and port workflows call it. */
export const FAR_SIDE = 'far.example.internal';

/** The HTTP service that runs call: it counts who called, which is how a test knows what was executed. */
export interface FarSide {
  /** Every request's `Idempotency-Key`, or its path where there is none, in order. */
  readonly calls: readonly string[];
  /** To declare it to the platform. */
  readonly service: InternalService;
  stop(): Promise<void>;
}

/** Starts it on loopback. `?ms=` delays the answer, `?status=` sets its status; the body is `{"ok": true}`. */
export async function startFarSide(): Promise<FarSide> {
  const calls: string[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://far.example.internal');
    calls.push(request.headers['idempotency-key']?.toString() ?? url.pathname);
    request.resume();
    const answer = async (): Promise<void> => {
      await sleep(Number(url.searchParams.get('ms') ?? 0));
      response.writeHead(Number(url.searchParams.get('status') ?? 200), {
        'content-type': 'application/json',
      });
      response.end('{"ok":true}');
    };
    void answer();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    calls,
    service: { host: FAR_SIDE, port: 80, address: '127.0.0.1', targetPort: port },
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** @returns a definition whose one step posts to the far side. */
export const callFarSide = (query = '', more: Record<string, unknown> = {}): Record<string, unknown> => ({
  name: 'call-far-side',
  steps: [
    {
      key: 'call',
      action: {
        type: 'HTTP',
        method: 'POST',
        endpointTemplate: `http://${FAR_SIDE}/call${query}`,
        body: '{{ input }}',
      },
    },
  ],
  output: '{{ steps.call.output.body }}',
  ...more,
});
