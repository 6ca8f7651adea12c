import type { Socket } from 'node:net';

/** How many connections a port has, so that no pod keeps it from the others. */
export interface ConnectionLimitsOptions {
  /** Of one attempt, once a request on each has proven that. */
  readonly perAttempt: number;
  /** Of one address, which proved nothing yet. Where addresses are translated, a node's pods share one. */
  readonly unprovenPerAddress: number;
  /** Of all addresses together, which proved nothing yet. */
  readonly unproven: number;
  /** How long a connection may take to prove itself. */
  readonly proofTimeoutMs: number;
}

interface Connection {
  readonly socket: Socket;
  readonly address: string;
  /** Ends it if it proves nothing. */
  readonly timer: NodeJS.Timeout;
  /** Null until proven. */
  attempt: string | null;
}

/**
 * Counts connections by whose they are: an attempt's, once proven; until then an address's. When all unproven places
 * are taken, the address that has the most gives one up, so that many addresses cannot keep another from proving itself.
 */
export class ConnectionLimits {
  readonly #options: ConnectionLimitsOptions;
  readonly #open = new Map<string, Connection>();
  /** By address, in the order in which they came. */
  readonly #unproven = new Map<string, Set<Connection>>();
  #unprovenCount = 0;
  /** By attempt. */
  readonly #proven = new Map<string, number>();

  constructor(options: ConnectionLimitsOptions) {
    this.#options = options;
  }

  /** Counts a new connection, or ends it. @returns whether it is counted. */
  admit(socket: Socket): boolean {
    const address = socket.remoteAddress ?? '';
    const own = this.#unproven.get(address)?.size ?? 0;
    const full = this.#unprovenCount >= this.#options.unproven;
    if (own >= this.#options.unprovenPerAddress || (full && !this.#makeRoom(own))) {
      socket.destroy();
      return false;
    }
    const timer = setTimeout(() => socket.destroy(), this.#options.proofTimeoutMs);
    const connection: Connection = { socket, address, timer, attempt: null };
    const name = nameOf(socket);
    this.#open.set(name, connection);
    this.#unproven.set(address, (this.#unproven.get(address) ?? new Set()).add(connection));
    this.#unprovenCount += 1;
    socket.once('close', () => {
      this.#uncount(connection);
      this.#open.delete(name);
    });
    return true;
  }

  /** Counts the connection as the attempt's. @returns false when that has enough of them. */
  prove(socket: Socket, attempt: string): boolean {
    const connection = this.#open.get(nameOf(socket));
    if (connection === undefined || connection.attempt === attempt) return true;
    const count = this.#proven.get(attempt) ?? 0;
    if (count >= this.#options.perAttempt) return false;
    this.#uncount(connection);
    connection.attempt = attempt;
    this.#proven.set(attempt, count + 1);
    return true;
  }

  /** @returns whether a request on the connection has proven whose it is. */
  isProven(socket: Socket): boolean {
    return this.#open.get(nameOf(socket))?.attempt != null;
  }

  /** Ends the newest connection of the address that has the most, if that has more than `own` and one. */
  #makeRoom(own: number): boolean {
    let fullest = new Set<Connection>();
    for (const connections of this.#unproven.values()) {
      if (connections.size > fullest.size) fullest = connections;
    }
    // The newest has hardly begun: whoever is honest there has sent nothing that could be lost.
    const newest = [...fullest].at(-1);
    if (newest === undefined || fullest.size <= own + 1) return false;
    this.#uncount(newest);
    newest.socket.destroy();
    return true;
  }

  /** Does nothing to a connection that was uncounted before. */
  #uncount(connection: Connection): void {
    clearTimeout(connection.timer);
    const { address, attempt } = connection;
    if (attempt !== null) {
      const left = (this.#proven.get(attempt) ?? 1) - 1;
      if (left === 0) this.#proven.delete(attempt);
      else this.#proven.set(attempt, left);
      connection.attempt = null;
      return;
    }
    const unproven = this.#unproven.get(address);
    if (unproven?.delete(connection) !== true) return;
    this.#unprovenCount -= 1;
    if (unproven.size === 0) this.#unproven.delete(address);
  }
}

/** A TLS socket and the connection below it are two objects with one remote end. */
const nameOf = ({ remoteAddress, remotePort }: Socket): string =>
  `${remoteAddress ?? ''} ${remotePort ?? ''}`;
