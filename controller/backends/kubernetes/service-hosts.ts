import { isIP } from 'node:net';
import { z } from 'zod';
import { messageOf, WormholeError } from '../../errors.ts';
import type { ApiClient } from './api-client.ts';
import { ApiError } from './api-error.ts';

const serviceSchema = z.object({ spec: z.object({ clusterIP: z.string().default('') }) });

/** A Service keeps its address for as long as it exists. */
const KEPT_MS = 60_000;

/**
 * Runs have no name service: they get the names of Services with their addresses.
 * @returns a function that gives `<service>.<namespace>.svc` and the cluster IP of each service, asked for
 *   once a minute; those that are known are kept while the API server does not tell.
 *   It throws an ApiError when the API server cannot be asked, and a WormholeError about a Service that does not serve.
 */
export function serviceHosts(
  api: Pick<ApiClient, 'send'>,
  namespace: string,
  services: readonly string[],
): () => Promise<Readonly<Record<string, string>>> {
  let known: Readonly<Record<string, string>> | undefined;
  let looking: Promise<Readonly<Record<string, string>>> | undefined;
  let knownUntil = 0;
  const serviceOf = async (name: string): Promise<z.infer<typeof serviceSchema>> => {
    try {
      return serviceSchema.parse(
        await api.send({ path: `/api/v1/namespaces/${namespace}/services/${name}` }),
      );
    } catch (error) {
      if (isAway(error)) throw error;
      throw new WormholeError(
        'CONFIG_INVALID',
        `Service "${name}" in namespace "${namespace}", which runs need, cannot be read: ${messageOf(error)}; is the platform synced to the cluster?`,
        { cause: error },
      );
    }
  };
  const look = async (): Promise<Readonly<Record<string, string>>> => {
    const hosts = await Promise.all(
      services.map(async (name): Promise<[string, string]> => {
        const { clusterIP } = (await serviceOf(name)).spec;
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
      // No reason not to start a run.
      if (known === undefined || !isAway(error)) throw error;
    }
    return known;
  };
}

/** The API server is away, or has just started and does not know our rights yet. */
const isAway = (error: unknown): boolean =>
  error instanceof ApiError && (error.transient || error.lacksRights);
