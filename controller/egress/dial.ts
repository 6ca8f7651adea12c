import { BlockList, connect, isIPv6, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { isPublicAddress } from './addresses.ts';
import type { Route } from './policy.ts';
import { EgressRefusal } from './reasons.ts';
import { DnsResolver, type Resolver } from './resolver.ts';

/** A name with more addresses than this is not tried at all of them. */
const MAX_TRIED_ADDRESSES = 4;

export interface DialerOptions {
  /** @default the system's name servers */
  readonly resolver?: Resolver;
  /** @default 5000 */
  readonly resolveTimeoutMs?: number;
  /** Limit of one address. @default 5000 */
  readonly connectTimeoutMs?: number;
  /** Addresses of this machine: refused even where they are public. @default those of its network interfaces */
  readonly ownAddresses?: () => Iterable<string>;
}

/**
 * Connects to where the policy allows it: resolves, checks **every** address of the name, and connects to one of the
 * addresses that it checked. Nothing resolves a second time, so a name cannot change its mind in between.
 */
export class Dialer {
  readonly #resolver: Resolver;
  readonly #resolveTimeoutMs: number;
  readonly #connectTimeoutMs: number;
  readonly #ownAddresses: () => Iterable<string>;

  constructor(options: DialerOptions = {}) {
    this.#resolver = options.resolver ?? new DnsResolver();
    this.#resolveTimeoutMs = options.resolveTimeoutMs ?? 5000;
    this.#connectTimeoutMs = options.connectTimeoutMs ?? 5000;
    this.#ownAddresses = options.ownAddresses ?? interfaceAddresses;
  }

  /**
   * @param signal gives up; the promise then rejects with its reason.
   * @returns a connected socket, with half-open connections allowed.
   * @throws {EgressRefusal} NAME_NOT_RESOLVED, ADDRESS_NOT_PUBLIC, CONNECT_FAILED or CONNECT_TIMEOUT.
   */
  async dial(route: Route, signal: AbortSignal): Promise<Socket> {
    const addresses =
      route.kind === 'internal' ? [route.address] : await this.#publicAddresses(route, signal);
    let failure: unknown;
    for (const address of addresses.slice(0, MAX_TRIED_ADDRESSES)) {
      try {
        return await this.#connect(route.host, address, route.port, signal);
      } catch (error) {
        signal.throwIfAborted();
        failure = error;
      }
    }
    throw failure;
  }

  async #publicAddresses(route: Route, signal: AbortSignal): Promise<readonly string[]> {
    const addresses = route.kind === 'address' ? [route.host] : await this.#resolve(route.host, signal);
    const own = new BlockList();
    for (const address of this.#ownAddresses()) own.addAddress(address, familyOf(address));
    const refused = addresses.find((a) => !isPublicAddress(a) || own.check(a, familyOf(a)));
    if (refused !== undefined) {
      throw new EgressRefusal(
        'ADDRESS_NOT_PUBLIC',
        `"${route.host}" is not at a public address; ask the operator to declare it as an internal service`,
        { address: refused },
      );
    }
    return addresses;
  }

  async #resolve(name: string, signal: AbortSignal): Promise<readonly string[]> {
    signal.throwIfAborted();
    const limit = AbortSignal.any([signal, AbortSignal.timeout(this.#resolveTimeoutMs)]);
    try {
      const addresses = await Promise.race([this.#resolver.resolve(name), rejectOnAbort(limit)]);
      if (addresses.length > 0) return addresses;
    } catch (cause) {
      signal.throwIfAborted();
      throw new EgressRefusal('NAME_NOT_RESOLVED', `the name "${name}" could not be resolved`, { cause });
    }
    throw new EgressRefusal('NAME_NOT_RESOLVED', `the name "${name}" has no address`);
  }

  #connect(host: string, address: string, port: number, signal: AbortSignal): Promise<Socket> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const socket = connect({ host: address, port, allowHalfOpen: true, noDelay: true });
      const onAbort = (): void => void socket.destroy(signal.reason as Error);
      const timer = setTimeout(() => {
        const message = `"${host}" did not accept a connection within ${this.#connectTimeoutMs} ms`;
        socket.destroy(new EgressRefusal('CONNECT_TIMEOUT', message, { address }));
      }, this.#connectTimeoutMs);
      const settle = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
      };
      const onError = (cause: Error): void => {
        settle();
        if (cause instanceof EgressRefusal) reject(cause);
        else
          reject(new EgressRefusal('CONNECT_FAILED', `"${host}" refused the connection`, { cause, address }));
      };
      signal.addEventListener('abort', onAbort, { once: true });
      socket.once('error', onError);
      socket.once('connect', () => {
        settle();
        socket.off('error', onError);
        // Whoever holds the socket learns of a failure from 'close'; unheard, 'error' would end the process.
        socket.on('error', () => undefined);
        resolve(socket);
      });
    });
  }
}

const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIPv6(address) ? 'ipv6' : 'ipv4');

const rejectOnAbort = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });

function* interfaceAddresses(): Iterable<string> {
  for (const addresses of Object.values(networkInterfaces())) {
    for (const { address } of addresses ?? []) yield address;
  }
}
