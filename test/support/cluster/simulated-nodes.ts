import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from '../../../controller/setup/command.ts';
import type { ControlPlane } from './control-plane.ts';
import { untilNodesReady } from './nodes-ready.ts';
import type { Place } from './place.ts';
import { ServerProcess } from './server-process.ts';

const READY_MS = 60_000;

/** Label of simulated nodes, and key of the taint that keeps pods off which do not tolerate it. */
export const SIMULATED = 'wormhole.dev/simulated';

/** Makes nodes whose pods kwok reports as running and, of Jobs, as completed. @returns once all are ready. */
export async function startSimulatedNodes(
  count: number,
  kwok: string,
  place: Place,
  { credentials, kubectl }: ControlPlane,
  log: (message: string) => void,
): Promise<ServerProcess> {
  const manifest = join(place.folder, 'simulated-nodes.json');
  writeFileSync(
    manifest,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'List',
      items: Array.from({ length: count }, (_, index) => simulatedNode(`simulated-${index}`)),
    }),
  );
  const server = new ServerProcess(
    'kwok',
    [
      kwok,
      `--config=${join(import.meta.dirname, 'simulated-stages.yaml')}`,
      `--kubeconfig=${credentials.kubeconfig('kwok')}`,
      `--manage-nodes-with-label-selector=${SIMULATED}=true`,
      '--node-lease-duration-seconds=40',
    ],
    place.folder,
    log,
  );
  const [program, ...args] = kubectl;
  try {
    await runCommand(program, [...args, 'create', '-f', manifest]);
    await untilNodesReady(credentials.kubeconfig('admin'), READY_MS);
  } catch (error) {
    const lines = server.lastLines();
    await server.stop();
    throw new Error(`the simulated nodes are not ready; kwok's log ends with:\n${lines}`, { cause: error });
  }
  return server;
}

function simulatedNode(name: string): object {
  const resources = { cpu: '256', memory: '1Ti', 'ephemeral-storage': '10Ti', pods: '1000' };
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: { [SIMULATED]: 'true', 'kubernetes.io/hostname': name } },
    spec: { taints: [{ key: SIMULATED, value: 'true', effect: 'NoSchedule' }] },
    status: { allocatable: resources, capacity: resources },
  };
}
