import { isIP } from 'node:net';
import { z } from 'zod';
import { WormholeError } from '../../errors.ts';
import type { ApiClient } from './api-client.ts';

const serviceSchema = z.object({ spec: z.object({ clusterIP: z.string().default('') }) });

/** A Service keeps its address for as long as it exists. */
const KEPT_MS = 60_000;

/**
 * Runs have no name service: they get the names of Services with their addresses.
 * @returns a function that gives `<service>.<namespace>.svc` and the cluster IP of each service, asked for once a minute.
 */
export function serviceHosts(
  api: ApiClient,
  namespace: string,
  services: readonly string[],
): () => Promise<Readonly<Record<string, string>>> {
  let known: Promise<Readonly<Record<string, string>>> | undefined;
  let knownUntil = 0;
  const look = async (): Promise<Readonly<Record<string, string>>> => {
    const hosts = await Promise.all(
      services.map(async (name): Promise<[string, string]> => {
        const service = serviceSchema.parse(
          await api.send({ path: `/api/v1/namespaces/${namespace}/services/${name}` }),
        );
        const { clusterIP } = service.spec;
        if (isIP(clusterIP) !== 0) return [`${name}.${namespace}.svc`, clusterIP];
        throw new WormholeError(
          'CONFIG_INVALID',
          `Service "${name}" in namespace "${namespace}" has no cluster IP ("${clusterIP}"): runs cannot resolve its name; make it a ClusterIP Service`,
        );
      }),
    );
    return Object.fromEntries(hosts);
  };
  return async () => {
    if (known === undefined || performance.now() >= knownUntil) {
      knownUntil = performance.now() + KEPT_MS;
      const looking = look();
      known = looking;
      looking.catch(() => {
        if (known === looking) known = undefined;
      });
    }
    return await known;
  };
}
