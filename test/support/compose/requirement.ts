import { afterAll } from 'vitest';
import { defaultPaths } from '../../../controller/setup/paths.ts';
import { engine as platformEngine } from '../engine.ts';
import type { Requirement } from '../requires.ts';
import { buildFerretDb } from '../servers/ferretdb.ts';
import { BridgedEngine } from './bridged-engine.ts';
import { buildCompose } from './compose-program.ts';
import { copyImage } from './images.ts';
import { findPrograms } from './programs.ts';
import { ensureServerImages } from './server-images.ts';
import { Stack } from './stack.ts';

/** The platform of deploy/compose/compose.yaml, not up yet, on an engine of its own that has all images. */
export interface ComposeStack {
  readonly engine: BridgedEngine;
  readonly stack: Stack;
}

/** Takes minutes the first time: programs and images are built here and not in a hook with its timeout. */
export const composeStack: Requirement<ComposeStack> = async () => {
  const log = (message: string): void => void process.stderr.write(`[compose] ${message}\n`);
  const { cacheDir } = defaultPaths(process.env, process.getuid?.() === 0);
  const programs = await findPrograms(log);
  if ('missing' in programs) return programs;
  const context = { cacheDir, dir: cacheDir, log };
  const compose = await buildCompose(context);
  if ('missing' in compose) return compose;
  const ferretdb = await buildFerretDb(context);
  if ('missing' in ferretdb) return ferretdb;
  const built = await platformEngine();
  if ('missing' in built) return built;

  const engine = await BridgedEngine.start(cacheDir);
  afterAll(() => engine[Symbol.asyncDispose](), 60_000);
  const { docker } = engine;
  const images = await ensureServerImages(docker, ferretdb.value, log);
  const [{ name: controlPlane }, { name: runner }] = await Promise.all([
    built.value.controlPlaneImage(),
    built.value.runnerImage(),
  ]);
  for (const name of [controlPlane, runner]) await copyImage(built.value.docker, docker, name);
  const variables = {
    WORMHOLE_IMAGE: controlPlane,
    WORMHOLE_RUNNER_IMAGE: runner,
    WORMHOLE_POSTGRES_IMAGE: images.postgres,
    WORMHOLE_REDIS_IMAGE: images.redis,
    WORMHOLE_MONGODB_IMAGE: images.mongodb,
    WORMHOLE_MONGODB_OPTIONS: 'authMechanism=PLAIN',
  };
  return { value: { engine, stack: new Stack({ engine, compose: compose.value, variables }) } };
};
