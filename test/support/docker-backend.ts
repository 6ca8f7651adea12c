import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type Dockerode from 'dockerode';
import { pino } from 'pino';
import { DockerBackend } from '../../controller/backends/docker/docker-backend.ts';
import { instanceFilter } from '../../controller/backends/docker/engine-watch.ts';
import { newInstance } from './attempts.ts';
import { ChannelsDouble } from './channels-double.ts';

export interface DockerBackendUnderTest {
  readonly backend: DockerBackend;
  /** Another one over the same containers and folders, as after a restart of the controller. */
  readonly another: () => DockerBackend;
  readonly channels: ChannelsDouble;
  readonly runDir: string;
  readonly instance: string;
  readonly leftovers: () => Promise<string[]>;
  readonly dispose: () => Promise<void>;
}

/** Makes a Docker backend with folders, channels and an instance name of its own. */
export async function dockerBackend(
  docker: Dockerode,
  options: { readonly image: string; readonly instance?: string; readonly relistMs?: number },
): Promise<DockerBackendUnderTest> {
  const instance = options.instance ?? newInstance();
  const runDir = await mkdtemp(join(tmpdir(), 'r-'));
  const channels = new ChannelsDouble();
  const another = (): DockerBackend =>
    new DockerBackend({
      security: {},
      log: pino({ level: 'silent' }),
      ...options,
      docker,
      instance,
      runDir,
      channels,
    });
  const containers = () => docker.listContainers({ all: true, filters: { label: instanceFilter(instance) } });
  return {
    backend: another(),
    another,
    channels,
    runDir,
    instance,
    leftovers: async () => [
      ...(await containers()).flatMap((c) => c.Names),
      ...(await readdir(runDir)),
      ...channels.openNames,
    ],
    dispose: async () => {
      await Promise.all(
        (await containers()).map((c) => docker.getContainer(c.Id).remove({ force: true, v: true })),
      );
      await channels.closeAll();
      await rm(runDir, { recursive: true, force: true });
    },
  };
}
