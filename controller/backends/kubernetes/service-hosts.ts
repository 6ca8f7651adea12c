import { isIP } from 'node:net';
import { z } from 'zod';
import { WormholeError } from '../../errors.ts';
import type { ApiClient } from './api-client.ts';
import { ApiError } from './api-error.ts';

const serviceSchema = z.object({ spec: z.object({ clusterIP: z.string().default('') }) });

/** A Service keeps its address for as long as it exists. */
const KEPT_MS = 60_000;

/**
 * Runs have no name service: they get the names of Services with their addresses.
 * @returns a function that gives `<service>.<namespace>.svc` and the cluster IP of each service, asked for
 *   once a minute; those that are known are kept while the API server does not tell.
 */
export function serviceHosts(
  api: Pick<ApiClient, 'send'>,
  namespace: string,
  services: readonly string[],
): () => Promise<Readonly<Record<string, string>>> {
  let known: Readonly<Record<string, string>> | undefined;
  let looking: Promise<Readonly<Record<string, string>>> | undefined;
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
    if (known !== undefined && performance.now() < knownUntil) return known;
    looking ??= look().finally(() => {
      looking = undefined;
    });
    try {
      known = await looking;
      knownUntil = performance.now() + KEPT_MS;
    } catch (error) {
      // An API server that is away, or does not know our rights yet, is no reason not to start a run.
      const isAway = error instanceof ApiError && (error.transient || error.lacksRights);
      if (known === undefined || !isAway) throw error;
    }
    return known;
  };
}
