import type { Socket } from 'node:net';

/** How many connections a gateway has, so that no pod keeps it from the others. */
export interface ConnectionLimitsOptions {
  /** Of one attempt, once a request on each has proven that. */
  readonly perAttempt: number;
  /** Of one address, which proved nothing yet. Where addresses are translated, a node's pods share one. */
  readonly unprovenPerAddress: number;
  /** How long a connection may take to prove itself. */
  readonly proofTimeoutMs: number;
}

/** Counts connections by whose they are: an attempt's, once proven; until then an address's. */
export class ConnectionLimits {
  readonly #options: ConnectionLimitsOptions;
  readonly #counts = new Map<string, number>();
  /** By connection: what it is counted under, and what ends it if it proves nothing. */
  readonly #open = new Map<string, { owner: string; readonly timer: NodeJS.Timeout }>();

  constructor(options: ConnectionLimitsOptions) {
    this.#options = options;
  }

  /** Counts a new connection, or ends it. */
  admit(socket: Socket): void {
    const owner = `address ${socket.remoteAddress ?? ''}`;
    if (this.#count(owner) >= this.#options.unprovenPerAddress) {
      socket.destroy();
      return;
    }
    const name = nameOf(socket);
    const timer = setTimeout(() => socket.destroy(), this.#options.proofTimeoutMs);
    this.#open.set(name, { owner, timer });
    this.#add(owner, 1);
    socket.once('close', () => {
      clearTimeout(timer);
      this.#add(this.#open.get(name)?.owner ?? owner, -1);
      this.#open.delete(name);
    });
  }

  /** Counts the connection as the attempt's. @returns false when that has enough of them. */
  prove(socket: Socket, attempt: string): boolean {
    const connection = this.#open.get(nameOf(socket));
    const owner = `attempt ${attempt}`;
    if (connection === undefined || connection.owner === owner) return true;
    if (this.#count(owner) >= this.#options.perAttempt) return false;
    clearTimeout(connection.timer);
    this.#add(connection.owner, -1);
    this.#add(owner, 1);
    connection.owner = owner;
    return true;
  }

  #count(owner: string): number {
    return this.#counts.get(owner) ?? 0;
  }

  #add(owner: string, by: number): void {
    const count = this.#count(owner) + by;
    if (count === 0) this.#counts.delete(owner);
    else this.#counts.set(owner, count);
  }
}

/** A TLS socket and the connection below it are two objects with one remote end. */
const nameOf = ({ remoteAddress, remotePort }: Socket): string =>
  `${remoteAddress ?? ''} ${remotePort ?? ''}`;
