import { createServer, connect, type NetConnectOpts, type Server, type Socket } from 'node:net';
import { once } from 'node:events';

/** A port on loopback that leads to a server, and can be closed as if the server were away. */
export class TcpRelay {
  readonly port: number;
  readonly #target: NetConnectOpts;
  readonly #open = new Set<Socket>();
  #server: Server | undefined;

  /** @param port a free one. */
  constructor(target: NetConnectOpts, port: number) {
    this.#target = target;
    this.port = port;
  }

  /** Lets connections through; a no-op while it does. */
  async open(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = createServer((near) => {
      const far = connect(this.#target);
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#open.add(one);
        one.once('close', () => {
          this.#open.delete(one);
          other.destroy();
        });
        one.on('error', () => other.destroy());
        one.pipe(other);
      }
    });
    server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
    this.#server = server;
  }

  /** Cuts off whoever is connected. */
  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = once(server, 'close');
    server.close();
    for (const socket of this.#open) socket.destroy();
    await closed;
  }
}
