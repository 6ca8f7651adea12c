import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import type Dockerode from 'dockerode';
import { runCommand } from '../../../controller/setup/command.ts';
import { until } from './until.ts';

const KNOWN_MS = 30_000;

/**
 * Copies an image of a container engine into a node's containerd. Quick when the node has the same image by that name.
 * @param name - a name with a tag, or an id (`sha256:…`), by which pods can then use it.
 * @throws {Error} when the engine has no such image.
 */
export async function copyImage(docker: Dockerode, containerdSocket: string, name: string): Promise<void> {
  const { Id: id } = await docker.getImage(name).inspect();
  const ctr = ['--address', containerdSocket, '--namespace', 'k8s.io'];
  const names = name === id ? [id] : [id, fullName(name)];
  const missing = async (): Promise<string[]> => {
    const known = await targets(ctr);
    const target = known.get(id);
    return names.filter((one) => target === undefined || known.get(one) !== target);
  };
  if ((await missing()).length === 0) return;

  const load = spawn('ctr', [...ctr, 'images', 'import', '--base-name', 'wormhole.test/unnamed', '-'], {
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  const exited = once(load, 'exit') as Promise<[number | null]>;
  const errors = text(load.stderr);
  const sent = docker
    .getImage(name)
    .get()
    .then((archive) => pipeline(archive, load.stdin));
  const [[code], broken] = await Promise.all([
    exited,
    sent.then(
      () => undefined,
      (error: unknown) => error,
    ),
  ]);
  if (code !== 0)
    throw new Error(`the image "${name}" could not be imported: ${await errors}`, { cause: broken });
  // The name by id is the kubelet's side of containerd, which hears of new images a little later.
  await until(`the image "${name}" on the node`, KNOWN_MS, async () => {
    const still = await missing();
    if (still.length > 0) throw new Error(`containerd does not know ${still.join(' and ')}`);
  });
}

/** @returns the digest that each image name stands for. */
async function targets(ctr: readonly string[]): Promise<Map<string, string>> {
  const table = await runCommand('ctr', [...ctr, 'images', 'ls']);
  return new Map(
    table.split('\n').flatMap((line) => {
      const [reference, , digest] = line.split(/\s+/);
      return reference === undefined || digest === undefined ? [] : [[reference, digest]];
    }),
  );
}

/** @returns the name with what Docker leaves out. */
function fullName(name: string): string {
  const [first = '', ...rest] = name.split('/');
  const hasHost = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  const path = hasHost ? name : rest.length > 0 ? `docker.io/${name}` : `docker.io/library/${name}`;
  return /:[^/]+$/.test(path) ? path : `${path}:latest`;
}
