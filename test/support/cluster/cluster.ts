import { defaultPaths } from '../../../controller/setup/paths.ts';
import type { Availability } from '../availability.ts';
import { startControlPlane } from './control-plane.ts';
import { startNode } from './node.ts';
import { makeNodeNamespace } from './node-namespace.ts';
import { findNodePrograms } from './node-packages.ts';
import { takePlace } from './place.ts';
import { buildPrograms } from './programs.ts';
import { startSimulatedNodes } from './simulated-nodes.ts';
import type { ClusterFacts } from './facts.ts';

export interface ClusterOptions {
  /** Without a node nothing runs, and root is not needed. */
  readonly withNode: boolean;
  /** So many nodes that only pretend to run pods, for pods that ask for them. */
  readonly simulatedNodes: number;
  /** Told what takes time. */
  readonly log: (message: string) => void;
}

/** A cluster of this process. */
export interface Cluster {
  readonly facts: ClusterFacts;
  /** Ends all of it and removes what it wrote. */
  stop(): Promise<void>;
}

/** Builds what is missing in the cache folder, then starts a cluster. @returns it, or what this machine lacks. */
export async function startCluster(options: ClusterOptions): Promise<Availability<Cluster>> {
  const { withNode, simulatedNodes, log } = options;
  const { cacheDir } = defaultPaths(process.env, process.getuid?.() === 0);
  const plugins = withNode ? await findNodePrograms(log) : { value: '' };
  if ('missing' in plugins) return plugins;
  const programs = await buildPrograms(
    [
      ...(['kubernetes', 'etcd', 'certificates'] as const),
      ...(withNode ? (['pause', 'kubeRouter'] as const) : []),
      ...(simulatedNodes > 0 ? (['kwok'] as const) : []),
    ],
    { cacheDir, log },
  );
  if ('missing' in programs) return programs;

  const place = await takePlace(cacheDir);
  const stops: (() => Promise<void>)[] = [() => place.release()];
  const stop = async (): Promise<void> => {
    for (const step of stops.splice(0).reverse()) await step();
  };
  try {
    const namespace = withNode ? await makeNodeNamespace(programs.value.pause, place) : undefined;
    if (namespace !== undefined) stops.push(() => namespace.stop());
    const controlPlane = await startControlPlane({ programs: programs.value, place, withNode, log });
    stops.push(() => controlPlane.stop());
    const node =
      namespace === undefined
        ? undefined
        : await startNode({
            programs: programs.value,
            cniPlugins: plugins.value,
            place,
            namespace,
            controlPlane,
            log,
          });
    if (node !== undefined) stops.push(() => node.stop());
    if (simulatedNodes > 0) {
      const simulated = await startSimulatedNodes(
        simulatedNodes,
        programs.value.kwok,
        place,
        controlPlane,
        log,
      );
      stops.push(() => simulated.stop());
    }
    return {
      value: {
        facts: {
          kubeconfig: controlPlane.credentials.kubeconfig('admin'),
          kubectl: controlPlane.kubectl,
          auditLog: controlPlane.auditLog,
          nodeAddress: withNode ? place.hostAddress : null,
          loadImage: node === undefined ? null : loadImageCommand(node.containerdSocket),
        },
        stop,
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function loadImageCommand(containerdSocket: string): string[] {
  return [process.execPath, new URL('load-image-main.ts', import.meta.url).pathname, containerdSocket];
}
