import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Metrics } from '../telemetry/metrics.ts';

/** @returns why the process is not ready, in words without a secret; nothing if it is. */
export type Readiness = () => Promise<readonly string[]>;

/**
 * What the kubelet asks a process of the control plane: `/healthz`, whether it is alive, and `/readyz`, whether it can
 * do its work, with the reasons in the answer if not; and `/metrics`, for Prometheus. https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
 */
export interface Probes {
  readonly port: number;
  /** From now on readiness is what `readiness` says. Before the first call the process is starting. */
  follow(readiness: Readiness): void;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly text: string;
}

const json = (status: number, body: object): Answer => ({
  status,
  contentType: 'application/json',
  text: JSON.stringify(body),
});

const OK = 200;
const NOT_FOUND = 404;
const NOT_READY = 503;

/** @param address where to listen: `host` unset means all addresses, `port` 0 any free one. */
export async function startProbes(
  address: { readonly host: string | undefined; readonly port: number },
  metrics: Metrics,
): Promise<Probes> {
  let readiness: Readiness = () => Promise.resolve(['starting']);
  const answer = async (path: string | undefined): Promise<Answer> => {
    switch (path) {
      case '/healthz':
        return json(OK, { alive: true });
      case '/readyz': {
        const reasons = await readiness();
        return reasons.length === 0 ? json(OK, { ready: true }) : json(NOT_READY, { ready: false, reasons });
      }
      case '/metrics': {
        const { contentType, text } = await metrics.read();
        return { status: OK, contentType, text };
      }
      default:
        return json(NOT_FOUND, { error: 'there are /healthz, /readyz and /metrics' });
    }
  };
  const server = createServer((request, response) => {
    answer(request.url).then(
      ({ status, contentType, text }) => {
        response.writeHead(status, { 'content-type': contentType }).end(text);
      },
      () => response.writeHead(NOT_READY).end(),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(address, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    follow: (next) => {
      readiness = next;
    },
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}
