import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ContainerInspectInfo } from 'dockerode';
import { expect, test } from 'vitest';
import { dockerRunArguments } from '../../bench/docker-run-arguments.ts';
import { containerSpec } from '../../controller/backends/docker/container-spec.ts';
import type { Availability } from '../support/availability.ts';
import { newAttempt, newInstance } from '../support/attempts.ts';
import { docker } from '../support/docker.ts';
import { probeImage } from '../support/probe-image.ts';
import { describeWith, type Requirement } from '../support/requires.ts';

const run = promisify(execFile);

const dockerCommand: Requirement<null> = async (): Promise<Availability<null>> => {
  try {
    await run('docker', ['--version']);
    return { value: null };
  } catch {
    return { missing: 'the docker command' };
  }
};

describeWith('docker run', docker, (engine) =>
  describeWith('in the benchmark', dockerCommand, () => {
    test('has the flags of a run container', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'wh-bench-'));
      const options = {
        image: await probeImage(engine, 'true'),
        instance: newInstance(),
        folder,
        security: {},
      };
      const spec = { ...containerSpec(newAttempt(), options), Entrypoint: ['/bin/sh'], Cmd: ['-c', 'true'] };
      const { socketPath } = engine.modem as { socketPath?: string };
      const ids: string[] = [];
      try {
        ids.push((await engine.createContainer(spec)).id);
        const byApi = await engine.getContainer(ids[0] ?? '').inspect();
        await engine.getContainer(ids[0] ?? '').remove({ force: true });
        const [, , ...flags] = dockerRunArguments(spec);
        const { stdout } = await run('docker', ['--host', `unix://${socketPath ?? ''}`, 'create', ...flags]);
        ids.push(stdout.trim());
        const byCommand = await engine.getContainer(ids[1] ?? '').inspect();
        expect(comparable(byCommand)).toEqual(comparable(byApi));
      } finally {
        await Promise.all(
          ids.map((id) =>
            engine
              .getContainer(id)
              .remove({ force: true })
              .catch(() => undefined),
          ),
        );
        await rm(folder, { recursive: true });
      }
    });
  }),
);

/**
 * What the two may differ in is left out: the command attaches itself, tells the size of its terminal, orders ulimits
 * and variables in a way of its own, and writes nothing as an empty list where the API leaves it out.
 */
function comparable({ Config, HostConfig, Path, Args }: ContainerInspectInfo): unknown {
  const whole = {
    ...{ Path, Args },
    Config: { ...Config, Env: Config.Env.toSorted(), AttachStdout: null, AttachStderr: null },
    HostConfig: {
      ...HostConfig,
      ConsoleSize: null,
      Ulimits: HostConfig.Ulimits?.toSorted((a, b) => String(a.Name).localeCompare(String(b.Name))),
    },
  };
  return JSON.parse(JSON.stringify(whole, (_key, value: unknown) => (isEmpty(value) ? undefined : value)));
}

const isEmpty = (value: unknown): boolean =>
  value === null || value === false || (typeof value === 'object' && Object.keys(value).length === 0);
