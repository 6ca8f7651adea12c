import { promisify } from 'node:util';
import { execFile } from 'node:child_process';
import type { ClusterFacts } from './cluster/facts.ts';
import { askHost } from './host-protocol.ts';

const run = promisify(execFile);

/**
 * Makes an image of the tests' container engine known to the cluster's node; quick if it is already.
 * With a cluster of the user's that has no loader, its images are the user's business.
 * @param image - a name with a tag, or an id: by that, pods then use it with `imagePullPolicy: Never`.
 */
export async function loadImage({ loadImage: command }: ClusterFacts, image: string): Promise<void> {
  if (command === null) return;
  const engine = await askHost('docker');
  if ('missing' in engine) throw new Error(`the image "${image}" needs ${engine.missing}`);
  const [program = '', ...args] = command;
  await run(program, [...args, image], { env: { ...process.env, DOCKER_HOST: engine.value } });
}
