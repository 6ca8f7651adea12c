import { promises as dns } from 'node:dns';

/** Finds the addresses of a name. */
export interface Resolver {
  /**
   * @param name a normalised domain name.
   * @returns all its addresses, in the order in which to try them.
   * @throws if it has none, or nobody could tell.
   */
  resolve(name: string): Promise<readonly string[]>;
}

/**
 * Asks the name servers of the system, A before AAAA.
 * Not `dns.lookup`: that reads the hosts file and appends search domains, which are not for tenants, and waits in the
 * thread pool, where four names that never answer would stop everybody's file and DNS work.
 */
export class DnsResolver implements Resolver {
  readonly #resolver = new dns.Resolver({ timeout: 2000, tries: 2 });

  /** @param servers `address` or `address:port`. @default those of the system */
  constructor(servers?: readonly string[]) {
    if (servers !== undefined) this.#resolver.setServers(servers);
  }

  async resolve(name: string): Promise<readonly string[]> {
    const answers = await Promise.allSettled([this.#resolver.resolve4(name), this.#resolver.resolve6(name)]);
    const addresses = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    if (addresses.length > 0) return addresses;
    throw new AggregateError(
      answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as unknown] : [])),
      `no address for "${name}"`,
    );
  }
}
