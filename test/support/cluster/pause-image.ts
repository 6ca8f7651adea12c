import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { pack } from 'tar-stream';

/** The image of every pod's sandbox. */
export const PAUSE_IMAGE = 'wormhole.test/pause:1';

/**
 * Writes an image whose only file is a static program, as `docker save` would write it.
 * @param pause - modules/pause
 */
export async function writePauseImage(pause: string, target: string): Promise<void> {
  const layer = pack();
  layer.entry({ name: 'pause', mode: 0o755 }, await readFile(pause));
  layer.finalize();
  const layerTar = await buffer(layer);
  const config = JSON.stringify({
    // Node's name of this processor happens to be Go's on arm64 only.
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: { Entrypoint: ['/pause'], User: '65535:65535' },
    rootfs: { type: 'layers', diff_ids: [`sha256:${createHash('sha256').update(layerTar).digest('hex')}`] },
  });
  const archive = pack();
  archive.entry({ name: 'layer.tar' }, layerTar);
  archive.entry({ name: 'config.json' }, config);
  archive.entry(
    { name: 'manifest.json' },
    JSON.stringify([{ Config: 'config.json', RepoTags: [PAUSE_IMAGE], Layers: ['layer.tar'] }]),
  );
  archive.finalize();
  await pipeline(archive, createWriteStream(target));
}
