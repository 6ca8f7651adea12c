import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { InternalService } from '../../controller/egress/internal-service.ts';

/** Under which name and port workflows call it. */
export const FAR_HOST = 'far.example.internal';
/** Where a run says which execution it is: what its first step was answered. */
export const EXECUTION_HEADER = 'x-execution';

/** A request that arrived. */
export interface Call {
  readonly runId: string;
  readonly step: string;
  /** The execution it belongs to: given by us in answer to `begin`, carried by every later step. */
  readonly execution: string;
  readonly at: Date;
}

/**
 * The far side of all workflows. Every answer to `begin` names another execution, and a process keeps one answer alone:
 * two executions in the later steps of a run are two processes that executed it, whatever else was tried again.
 */
export class FarService {
  /** All that arrived, in order. */
  readonly calls: Call[] = [];
  readonly #server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', `http://${FAR_HOST}`);
    const { execution } = this.#note(request);
    request.resume();
    const answer = async (): Promise<void> => {
      await delay(Number(url.searchParams.get('ms') ?? 0));
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ execution }));
    };
    void answer();
  });

  /** Starts one on loopback. */
  static async start(): Promise<FarService> {
    const service = new FarService();
    service.#server.listen(0, '127.0.0.1');
    await once(service.#server, 'listening');
    return service;
  }

  /** To declare it to the platform. */
  get service(): InternalService {
    const { port } = this.#server.address() as AddressInfo;
    return { host: FAR_HOST, port: 80, address: '127.0.0.1', targetPort: port };
  }

  #note({ headers }: IncomingMessage): Call {
    const [runId = '', step = ''] = (headers['idempotency-key']?.toString() ?? '').split('/');
    const execution = headers[EXECUTION_HEADER]?.toString() ?? randomUUID();
    const call = { runId, step, execution, at: new Date() };
    this.calls.push(call);
    return call;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
