import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { Dialer, type DialerOptions } from '../../../controller/egress/dial.ts';
import { signGrant, type EgressGrant } from '../../../controller/egress/grant.ts';
import type { InternalService } from '../../../controller/egress/internal-service.ts';
import type { EgressLimits } from '../../../controller/egress/limits.ts';
import { EgressProxy } from '../../../controller/egress/proxy.ts';
import type { EgressRecord } from '../../../controller/egress/record.ts';
import type { Resolver } from '../../../controller/egress/resolver.ts';
import { newRunId, tenantIdSchema, type AttemptRef } from '../../../controller/model/ids.ts';

/** A resolver that gives the next of its answers at each question, the last one for ever. */
export class ScriptedResolver implements Resolver {
  readonly asked: string[] = [];
  readonly #answers: (readonly string[])[];

  constructor(...answers: (readonly string[])[]) {
    this.#answers = answers;
  }

  resolve(name: string): Promise<readonly string[]> {
    this.asked.push(name);
    const answer = this.#answers.length > 1 ? this.#answers.shift() : this.#answers[0];
    return answer === undefined ? Promise.reject(new Error('ENOTFOUND')) : Promise.resolve(answer);
  }
}

export interface ProxyUnderTest {
  readonly proxy: EgressProxy;
  readonly socketPath: string;
  readonly identity: AttemptRef;
  readonly records: EgressRecord[];
  /** A grant for this run, with anything of it replaced. */
  readonly grant: (changes?: Partial<EgressGrant>) => string;
  /** The lines of a header that authorise a request. */
  readonly authorization: (changes?: Partial<EgressGrant>) => string;
  /** Connects to the proxy's socket. */
  readonly connect: () => Promise<Socket>;
  /** Sends bytes and returns all that comes back until the proxy closes the connection. */
  readonly send: (bytes: string) => Promise<string>;
  readonly close: () => Promise<void>;
}

/** An egress proxy that listens for one run, whose tenant may reach every declared service. */
export async function startProxy(options: {
  readonly services?: readonly InternalService[];
  readonly dialer?: DialerOptions;
  readonly limits?: Partial<EgressLimits>;
  readonly onDecision?: (record: EgressRecord) => void;
}): Promise<ProxyUnderTest> {
  const folder = await mkdtemp(join(tmpdir(), 'egress-'));
  const key = randomBytes(32);
  const records: EgressRecord[] = [];
  const services = options.services ?? [];
  const identity = { runId: newRunId(), attempt: 1 };
  const proxy = new EgressProxy({
    grantKey: key,
    dialer: new Dialer({ resolver: new ScriptedResolver(), ...options.dialer }),
    internalServices: services,
    onDecision: (record) => {
      records.push(record);
      options.onDecision?.(record);
    },
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  });
  const socketPath = join(folder, 'egress.sock');
  const closeListener = await proxy.listenOn(socketPath, identity);
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => (closing ??= closeListener());
  const clients = new Set<Socket>();
  onTestFinished(async () => {
    for (const client of clients) client.destroy();
    await close();
    await rm(folder, { recursive: true });
  });

  const grant = (changes: Partial<EgressGrant> = {}): string =>
    signGrant(key, {
      tenantId: tenantIdSchema.parse('acme'),
      ...identity,
      policy: { mode: 'allowlist', allow: services.map(({ host, port }) => ({ host, ports: [port] })) },
      expiresAt: Date.now() + 60_000,
      ...changes,
    });
  const connectClient = (): Promise<Socket> =>
    new Promise((resolve, reject) => {
      const client = connect(socketPath);
      clients.add(client);
      client.once('error', reject);
      client.once('connect', () => {
        client.off('error', reject).on('error', () => undefined);
        resolve(client);
      });
    });
  const send = async (bytes: string): Promise<string> => {
    const client = await connectClient();
    client.write(bytes, 'latin1');
    return readAll(client);
  };
  return {
    proxy,
    socketPath,
    identity,
    records,
    grant,
    authorization: (changes) => `Proxy-Authorization: Bearer ${grant(changes)}\r\n`,
    connect: connectClient,
    send,
    close,
  };
}

/** @returns all that arrives until the other side has closed. */
export function readAll(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let received = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => (received += chunk));
    socket.once('close', () => resolve(received));
    socket.once('end', () => socket.end());
  });
}

/** @returns what has arrived once it holds `text`; rejects if the socket closes before. */
export function readUntil(socket: Socket, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = '';
    const onClose = (): void => reject(new Error(`closed before "${text}"; got ${JSON.stringify(received)}`));
    const onData = (chunk: Buffer): void => {
      received += chunk.toString('latin1');
      if (!received.includes(text)) return;
      socket.off('data', onData).off('close', onClose);
      resolve(received);
    };
    socket.on('data', onData).once('close', onClose);
  });
}

/** @returns the reason in the header with which the proxy marks its own answers, and the status. */
export function denialOf(response: string): string {
  const status = /^HTTP\/1\.1 (\d{3}) /.exec(response)?.[1] ?? 'no answer';
  return `${status} ${/^Wormhole-Egress-Denied: (\w+)\r$/m.exec(response)?.[1] ?? 'not denied'}`;
}
