import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type Dockerode from 'dockerode';
import type { ClusterFacts } from './cluster/facts.ts';
import { probeImage } from './probe-image.ts';

/** @returns a function that makes a probe image, known to the cluster's node, from a script; once for each script. */
export function probeImages(
  engine: Dockerode,
  { loadImage }: Pick<ClusterFacts, 'loadImage'>,
): (script: string) => Promise<string> {
  const loaded = new Map<string, Promise<string>>();
  const load = async (script: string): Promise<string> => {
    const image = await probeImage(engine, script);
    const [program, ...args] = loadImage ?? [];
    if (program !== undefined) await promisify(execFile)(program, [...args, image]);
    return image;
  };
  return (script) => {
    const loading = loaded.get(script) ?? load(script);
    loaded.set(script, loading);
    return loading;
  };
}
