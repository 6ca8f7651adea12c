import type Dockerode from 'dockerode';
import { followProgress, hasImage } from '../../../controller/setup/engine-images.ts';

/** Copies an image to another engine, unless that has it, and removes older ones of the same name there. */
export async function copyImage(from: Dockerode, to: Dockerode, name: string): Promise<void> {
  if (await hasImage(to, name)) return;
  await followProgress(to, await to.loadImage(await from.getImage(name).get()));
  const [repository = ''] = name.split(':');
  for (const { RepoTags } of await to.listImages({ filters: { reference: [repository] } })) {
    for (const tag of (RepoTags ?? []).filter((other) => other !== name)) await to.getImage(tag).remove();
  }
}
