import type { AttemptRef } from '../../model/ids.ts';

/**
 * The two Unix sockets through which a container without a network reaches the platform. They lie in the run's
 * folder, which only this run's container has mounted: the socket is the identity.
 */
export interface RunChannels {
  /**
   * Listens on `<folder>/gateway.sock` and `<folder>/egress.sock`, both connectable by any uid (mode 0666).
   * A socket file that a dead process left there is replaced; channels that are open already stay as they are.
   */
  open(ref: AttemptRef, folder: string): Promise<void>;

  /** Stops listening and drops the connections. Channels that are not open are success. */
  close(ref: AttemptRef): Promise<void>;
}
