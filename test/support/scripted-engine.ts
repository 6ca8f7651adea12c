import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Dockerode from 'dockerode';
import { onTestFinished } from 'vitest';

export interface ScriptedContainer {
  readonly Id: string;
  readonly State: string;
  readonly exitCode?: number;
}

/** An engine that says what a test wants it to say: over HTTP, on a socket. All its containers have the same labels. */
export class ScriptedEngine {
  /** What it lists and shows. */
  containers: readonly ScriptedContainer[] = [];
  /** Connections to its stream of events that were opened so far, and those still open. */
  connections = 0;
  readonly streams = new Set<ServerResponse>();
  /** Breaks off every request. */
  refuse = false;
  /** Fails every inspection. */
  inspectFails = false;
  /** Takes removals, and does not answer them. */
  removalsHang = false;
  /** Listings and inspections asked for so far. */
  listings = 0;
  inspections = 0;
  /** Containers that it was told to kill. */
  readonly killed: string[] = [];
  readonly docker: Dockerode;
  readonly #labels: Readonly<Record<string, string>>;
  #listingsHeld: Promise<void> | undefined;

  private constructor(socketPath: string, labels: Readonly<Record<string, string>>) {
    this.docker = new Dockerode({ socketPath, host: undefined });
    this.#labels = labels;
  }

  /** Starts one for the test that is running; it ends with it. */
  static async start(labels: Readonly<Record<string, string>>): Promise<ScriptedEngine> {
    const folder = await mkdtemp(join(tmpdir(), 's-'));
    const socketPath = join(folder, 'engine.sock');
    const engine = new ScriptedEngine(socketPath, labels);
    const server = createServer((request, response) => void engine.#answer(request, response));
    server.listen(socketPath);
    await once(server, 'listening');
    onTestFinished(async () => {
      server.closeAllConnections();
      server.close();
      await rm(folder, { recursive: true });
    });
    return engine;
  }

  /** Sends an event to who listens. */
  tell(Action: string, ID: string, more: Record<string, string> = {}): void {
    const Attributes = { ...this.#labels, ...more };
    const event = { Action, Actor: { ID, Attributes }, timeNano: Date.now() * 1e6 };
    for (const stream of this.streams) stream.write(`${JSON.stringify(event)}\n`);
  }

  /**
   * Makes listings slow: each shows what there was when it was asked for, and is sent later.
   * @returns what sends them, and ends that.
   */
  holdListings(): () => void {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#listingsHeld = promise;
    return () => {
      this.#listingsHeld = undefined;
      resolve(undefined);
    };
  }

  async #answer({ method = '', url = '' }: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.refuse) {
      response.socket?.destroy();
    } else if (url.startsWith('/events')) {
      this.connections += 1;
      this.streams.add(response);
      response.on('close', () => this.streams.delete(response));
      response.flushHeaders();
    } else if (url.startsWith('/containers/json')) {
      this.listings += 1;
      const listed = JSON.stringify(this.containers.map((c) => ({ ...c, Labels: this.#labels })));
      await this.#listingsHeld;
      response.end(listed);
    } else {
      const [, , id = '', action] = new URL(url, 'http://engine').pathname.split('/');
      this.#answerOne(method, id, action, response);
    }
  }

  #answerOne(method: string, id: string, action: string | undefined, response: ServerResponse): void {
    const found = this.containers.find((c) => c.Id === id);
    if (found !== undefined && method === 'DELETE' && this.removalsHang) return;
    if (found !== undefined && action === 'kill') this.killed.push(id);
    if (action === 'json') this.inspections += 1;
    const failed = action === 'json' && this.inspectFails;
    response.statusCode = failed ? 500 : found === undefined ? 404 : action === 'json' ? 200 : 204;
    if (response.statusCode === 204) {
      response.end();
      return;
    }
    const shown = {
      Id: id,
      Config: { Labels: this.#labels },
      State: {
        Status: found?.State,
        ExitCode: found?.exitCode,
        OOMKilled: false,
        FinishedAt: new Date(),
      },
    };
    response.end(JSON.stringify(response.statusCode === 200 ? shown : { message: 'No such container' }));
  }
}
