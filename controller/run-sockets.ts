import { join } from 'node:path';
import type { RunChannels } from './backends/docker/channels.ts';
import { EGRESS_SOCKET, GATEWAY_SOCKET } from './backends/docker/run-folder.ts';
import type { CloseListener, EgressProxy } from './egress/proxy.ts';
import type { Gateway } from './gateway/gateway.ts';
import { attemptName, type AttemptRef } from './model/ids.ts';

/** What a container without a network sees of the platform: the gateway and the egress proxy, on a socket each. */
export class RunSockets implements RunChannels {
  readonly #gateway: Gateway;
  readonly #proxy: EgressProxy;
  readonly #open = new Map<string, Promise<readonly CloseListener[]>>();

  constructor(gateway: Gateway, proxy: EgressProxy) {
    this.#gateway = gateway;
    this.#proxy = proxy;
  }

  async open(ref: AttemptRef, folder: string): Promise<void> {
    const name = attemptName(ref);
    const opening = this.#open.get(name) ?? this.#listen(ref, folder);
    this.#open.set(name, opening);
    try {
      await opening;
    } catch (error) {
      if (this.#open.get(name) === opening) this.#open.delete(name);
      throw error;
    }
  }

  /** They were closed with the process that had them open: nobody else has them. */
  async reopen(ref: AttemptRef, folder: string): Promise<void> {
    await this.open(ref, folder);
  }

  async close(ref: AttemptRef): Promise<void> {
    const name = attemptName(ref);
    const opening = this.#open.get(name);
    this.#open.delete(name);
    if (opening === undefined) return;
    // An opening that fails closes what it has opened, and is told to who asked for it.
    const open = await opening.catch(() => []);
    await Promise.all(open.map((close) => close()));
  }

  /** Closes all that is open: the controller is stopping. */
  async closeAll(): Promise<void> {
    const all = await Promise.allSettled(this.#open.values());
    this.#open.clear();
    await Promise.all(
      all.flatMap((open) => (open.status === 'fulfilled' ? open.value.map((close) => close()) : [])),
    );
  }

  /** Opens both, or none. */
  async #listen(ref: AttemptRef, folder: string): Promise<readonly CloseListener[]> {
    const sockets = await Promise.allSettled([
      this.#gateway.listenOn(join(folder, GATEWAY_SOCKET), ref),
      this.#proxy.listenOn(join(folder, EGRESS_SOCKET), ref),
    ]);
    const open = sockets.flatMap((socket) => (socket.status === 'fulfilled' ? [socket.value] : []));
    const failed = sockets.find((socket) => socket.status === 'rejected');
    if (failed === undefined) return open;
    await Promise.all(open.map((close) => close()));
    throw failed.reason;
  }
}
