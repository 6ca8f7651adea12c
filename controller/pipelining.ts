import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/**
 * Bounds the requests of one connection that wait for answers. Node parses what is pipelined as fast as it comes, also
 * while nothing is answered yet, and each request takes some kilobytes.
 */
export class Pipelining {
  readonly #waiting = new WeakMap<Duplex, number>();

  /**
   * Counts a request until it is answered.
   * @returns false when `most` wait already: then the connection was ended, and the request is not to be handled.
   */
  begin({ socket }: IncomingMessage, response: ServerResponse, most: number): boolean {
    const waiting = this.waiting(socket);
    if (socket.destroyed) return false;
    if (waiting >= most) {
      socket.destroy();
      return false;
    }
    this.#waiting.set(socket, waiting + 1);
    response.once('close', () => this.#waiting.set(socket, this.waiting(socket) - 1));
    return true;
  }

  /** @returns how many requests of the connection wait. */
  waiting(socket: Duplex): number {
    return this.#waiting.get(socket) ?? 0;
  }
}
