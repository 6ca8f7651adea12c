import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { Engine } from './engine.ts';
import { ensureImage, type BuildOptions, type BuiltImage } from './image-build.ts';
import { hashOf, type ContextPart } from './image-context.ts';
import { ensureProductionPackages, PACKAGE_FILES } from './production-packages.ts';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const SOURCES: readonly ContextPart[] = [
  { folder: PROJECT, entries: ['package.json', 'controller', 'lib', 'imports'], target: 'app' },
  { folder: join(PROJECT, 'deploy/image'), target: 'image' },
  { folder: join(PROJECT, 'runner/image'), entries: ['rootfs.py', 'sbom.py'], target: 'image' },
];
/** What packages bring along for compilers, debuggers and people. */
const NOT_RUN =
  /(?:\.[cm]?ts|\.map|\.md|\.markdown|\.flow|\/(?:__tests__|tests?|docs|benchmarks?|examples?))$/;

/**
 * Makes sure that the engine has the image of the control plane: of this source tree, its production packages and the
 * Node that runs this.
 * @throws {WormholeError} IMAGE_BUILD_FAILED, with the end of what npm or the build printed.
 */
export async function ensureControlPlaneImage(engine: Engine, options: BuildOptions): Promise<BuiltImage> {
  const { cacheDir, onProgress = () => undefined } = options;
  const manifest = readFileSync(join(PROJECT, 'package.json'), 'utf8');
  const { version } = z.object({ version: z.string() }).parse(JSON.parse(manifest));
  const packages: ContextPart = { folder: PROJECT, entries: PACKAGE_FILES, target: '' };
  return await ensureImage(
    engine,
    {
      repository: 'wormhole-control-plane',
      version,
      contentHash: [hashOf([...SOURCES, packages]), process.version, process.arch].join(' '),
      collect: async () => [
        ...SOURCES,
        {
          folder: await ensureProductionPackages(cacheDir, onProgress),
          entries: ['node_modules'],
          target: 'app',
          omit: NOT_RUN,
        },
        { folder: dirname(process.execPath), entries: [basename(process.execPath)], target: '' },
      ],
    },
    options,
  );
}
