/** Usage: load-image-main.ts <containerd's socket> <image>; the image is one of DOCKER_HOST's engine, or of `wormhole`'s own. */
import { messageOf } from '../../../controller/errors.ts';
import { connectEngine } from '../../../controller/setup/engine.ts';
import { defaultPaths } from '../../../controller/setup/paths.ts';
import { copyImage } from './load-image.ts';

const [socket, image] = process.argv.slice(2);
try {
  if (socket === undefined || image === undefined) {
    throw new Error("usage: load-image-main.ts <containerd's socket> <image>");
  }
  const { cacheDir } = defaultPaths(process.env, process.getuid?.() === 0);
  const engine = await connectEngine({ dockerHost: process.env['DOCKER_HOST'], cacheDir });
  try {
    await copyImage(engine.docker, socket, image);
  } finally {
    await engine.release();
  }
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exitCode = 1;
}
