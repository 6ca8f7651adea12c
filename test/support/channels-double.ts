import { once } from 'node:events';
import { chmod, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import type { RunChannels } from '../../controller/backends/docker/channels.ts';
import { attemptName, type AttemptRef } from '../../controller/model/ids.ts';

/** Run channels with nothing behind them: real HTTP servers on real sockets that answer with a fixed text. */
export class ChannelsDouble implements RunChannels {
  readonly #answer: string;
  readonly #servers = new Map<string, Promise<Server[]>>();

  constructor(answer = 'ok') {
    this.#answer = answer;
  }

  async open(ref: AttemptRef, folder: string): Promise<void> {
    const name = attemptName(ref);
    const servers =
      this.#servers.get(name) ??
      Promise.all(['gateway.sock', 'egress.sock'].map((file) => this.#listen(join(folder, file))));
    this.#servers.set(name, servers);
    await servers;
  }

  async reopen(ref: AttemptRef, folder: string): Promise<void> {
    await this.open(ref, folder);
  }

  async close(ref: AttemptRef): Promise<void> {
    const name = attemptName(ref);
    const servers = await this.#servers.get(name);
    this.#servers.delete(name);
    for (const server of servers ?? []) {
      server.closeAllConnections();
      server.close();
    }
  }

  /** @returns the attempts whose channels are open, as `<run id>-<attempt>`. */
  get openNames(): string[] {
    return [...this.#servers.keys()];
  }

  /** Closes all that is open. */
  async closeAll(): Promise<void> {
    for (const servers of this.#servers.values()) (await servers).forEach((server) => server.close());
    this.#servers.clear();
  }

  async #listen(path: string): Promise<Server> {
    await rm(path, { force: true });
    const server = createServer((_request, response) => response.end(this.#answer));
    server.listen(path);
    await once(server, 'listening');
    await chmod(path, 0o666);
    return server;
  }
}
