import { once } from 'node:events';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';

/**
 * `open`: forwards. `mute`: what the server answers is swallowed from then on, and connections stay open. `closed`: all connections
 * are cut, and new ones refused.
 */
type Mode = 'open' | 'mute' | 'closed';

/** A way to an API server on which everything can go wrong. */
export interface FaultyWay {
  /** What takes the place of the server's own URL. */
  readonly server: string;
  set(mode: Mode): void;
  close(): Promise<void>;
}

/** @param server URL of the API server. */
export async function faultyWay(server: string): Promise<FaultyWay> {
  const { hostname, port } = new URL(server);
  const sockets = new Set<Socket>();
  const muted = new WeakSet<Socket>();
  let mode: Mode = 'open';
  const listener = createServer((client) => {
    if (mode === 'closed') {
      client.destroy();
      return;
    }
    const upstream = connect(Number(port), hostname);
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
    }
    client.on('data', (bytes) => upstream.write(bytes));
    upstream.on('data', (bytes) => {
      if (mode === 'mute') muted.add(client);
      if (!muted.has(client)) client.write(bytes);
    });
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    server: `https://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    set: (to) => {
      mode = to;
      if (to === 'closed') cut();
    },
    close: async () => {
      cut();
      listener.close();
      await once(listener, 'close');
    },
  };
}
