import type { AttemptRef } from '../../model/ids.ts';

/**
 * The two Unix sockets through which a container without a network reaches the platform, `gateway.sock` and
 * `egress.sock`. They lie in folders of the run, which only this run's container has mounted: the socket is the identity.
 */
export interface RunChannels {
  /**
   * Resolves when both sockets of a new attempt can be connected to by any uid (mode 0666). A socket file that a dead
   * process left there is replaced; channels that are open already stay as they are.
   * @param folder the attempt's folder, as {@link RunFolders} makes it.
   */
  open(ref: AttemptRef, folder: string): Promise<void>;

  /** The same for an attempt whose container is at work already, after the controller was started again. */
  reopen(ref: AttemptRef, folder: string): Promise<void>;

  /** Stops listening and drops the connections. Channels that are not open are success. */
  close(ref: AttemptRef): Promise<void>;
}
