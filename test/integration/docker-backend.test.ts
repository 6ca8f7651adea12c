import { request } from 'node:http';
import { rm } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { pino } from 'pino';
import { containerName, containerSpec } from '../../controller/backends/docker/container-spec.ts';
import { DockerBackend } from '../../controller/backends/docker/docker-backend.ts';
import { attemptName } from '../../controller/model/ids.ts';
import { newAttempt } from '../support/attempts.ts';
import { ChannelsDouble } from '../support/channels-double.ts';
import { dockerBackend, type DockerBackendUnderTest } from '../support/docker-backend.ts';
import { docker } from '../support/docker.ts';
import { Observations } from '../support/observations.ts';
import { probeImage } from '../support/probe-image.ts';
import { describeWith } from '../support/requires.ts';

const UNTIL_KILLED = 'while :; do sleep 1; done';

describeWith('the Docker backend', docker, (engine) => {
  async function make(script: string, options: { relistMs?: number } = {}): Promise<DockerBackendUnderTest> {
    const made = await dockerBackend(engine, { image: await probeImage(engine, script), ...options });
    onTestFinished(() => made.dispose());
    return made;
  }

  function listenTo(made: DockerBackendUnderTest): Observations {
    const observations = new Observations(made.backend);
    onTestFinished(() => observations.stop());
    return observations;
  }

  /** Asks over a socket as the container sees it: through its own mount of the folder. */
  async function askInside(containerId: string, socket: string): Promise<string> {
    const { State } = await engine.getContainer(containerId).inspect();
    return new Promise((resolve, reject) => {
      request({ socketPath: `/proc/${State.Pid}/root/run/wormhole/${socket}`, path: '/' }, (response) => {
        text(response).then(resolve, reject);
      })
        .on('error', reject)
        .end();
    });
  }

  test('a container reaches its two sockets, and those of the next controller after an adoption', async () => {
    const made = await make(UNTIL_KILLED);
    const spec = newAttempt();
    const { containerId } = await made.backend.start(spec);
    expect(await askInside(containerId, 'gateway.sock')).toBe('ok');
    expect(await askInside(containerId, 'egress.sock')).toBe('ok');

    // The first controller is gone without a word: its socket files are stale now.
    await made.channels.closeAll();
    await expect(askInside(containerId, 'gateway.sock')).rejects.toThrow();
    const channels = new ChannelsDouble('adopted');
    const next = new DockerBackend({
      docker: engine,
      image: 'unused',
      instance: made.instance,
      runDir: made.runDir,
      channels,
      security: {},
      log: pino({ level: 'silent' }),
    });
    await next.adopt(spec);
    await next.adopt(spec);
    expect(await askInside(containerId, 'gateway.sock')).toBe('adopted');
    expect(await askInside(containerId, 'egress.sock')).toBe('adopted');
    await next.remove(spec);
    expect(channels.openNames).toEqual([]);
  });

  test('a container whose folder is gone cannot be adopted', async () => {
    const made = await make(UNTIL_KILLED);
    const spec = newAttempt();
    await made.backend.start(spec);
    await rm(join(made.runDir, attemptName(spec)), { recursive: true });
    await expect(made.backend.adopt(spec)).rejects.toMatchObject({ reason: 'RUNNER_LOST', retryable: true });
  });

  test('a container that was created and not started is listed, and started by the next start', async () => {
    const made = await make(UNTIL_KILLED);
    const spec = newAttempt();
    const image = await probeImage(engine, UNTIL_KILLED);
    const { id } = await engine.createContainer(
      containerSpec(spec, { image, instance: made.instance, folder: made.runDir, security: {} }),
    );
    expect(await made.backend.list()).toEqual([
      { runId: spec.runId, attempt: 1, tenantId: 'acme', containerId: id, state: 'created' },
    ]);
    expect(await made.backend.start(spec)).toMatchObject({ containerId: id, state: 'running' });
  });

  test("somebody else's container of the same name is an error, and is left alone", async () => {
    const made = await make(UNTIL_KILLED);
    const spec = newAttempt();
    const foreign = await engine.createContainer({
      name: containerName(made.instance, spec),
      Image: await probeImage(engine, UNTIL_KILLED),
    });
    onTestFinished(() => foreign.remove({ force: true }) as Promise<void>);
    await expect(made.backend.start(spec)).rejects.toMatchObject({
      reason: 'ADMISSION_DENIED',
      retryable: false,
    });
    await made.backend.stop(spec, { graceMs: 0 });
    await made.backend.remove(spec);
    expect((await foreign.inspect()).State.Status).toBe('created');
    expect(await made.backend.list()).toEqual([]);
  });

  test('channels that cannot be opened fail the start, and nothing is left', async () => {
    const made = await make(UNTIL_KILLED);
    made.channels.open = () => Promise.reject(new Error('no more descriptors'));
    const start = made.backend.start(newAttempt());
    await expect(start).rejects.toMatchObject({ reason: 'UNSCHEDULABLE', retryable: true });
    await expect(start).rejects.toThrow('no more descriptors');
    expect(await made.leftovers()).toEqual([]);
  });

  test('an image without its entry point is RUNNER_CRASHED, and nothing is left', async () => {
    const base = await probeImage(engine, UNTIL_KILLED);
    const template = await engine.createContainer({ Image: base, Entrypoint: ['/bin/nothing'] });
    await template.commit({ repo: 'wormhole-probe', tag: 'broken' });
    await template.remove();
    const made = await dockerBackend(engine, { image: 'wormhole-probe:broken' });
    onTestFinished(() => made.dispose());
    await expect(made.backend.start(newAttempt())).rejects.toMatchObject({
      reason: 'RUNNER_CRASHED',
      retryable: false,
    });
    expect(await made.leftovers()).toEqual([]);
  });

  test('a kill from outside is told apart from an end of its own and from a loss', async () => {
    const made = await make(UNTIL_KILLED);
    const observations = listenTo(made);
    const [killed, removed] = [newAttempt(), newAttempt()];
    const [one, other] = [await made.backend.start(killed), await made.backend.start(removed)];
    await observations.of('started', removed);
    await engine.getContainer(one.containerId).kill();
    await engine.getContainer(other.containerId).remove({ force: true });
    expect((await observations.of('ended', killed)).exit).toMatchObject({
      kind: 'exited',
      exitCode: 137,
      oomKilled: false,
    });
    expect((await observations.of('ended', removed)).exit).toMatchObject({ kind: 'exited', exitCode: 137 });
  });

  test('an end that was not recorded is observed again, until the container is removed', async () => {
    const made = await make('exit 4', { relistMs: 300 });
    const observations = listenTo(made);
    const spec = newAttempt();
    await made.backend.start(spec);
    const ends = (): number => observations.ofAttempt(spec).filter((o) => o.kind === 'ended').length;
    await expect.poll(ends, { timeout: 10_000 }).toBeGreaterThan(2);
    await made.backend.remove(spec);
    const atRemoval = ends();
    await delay(1000);
    expect(ends()).toBeLessThanOrEqual(atRemoval + 1);
    expect(observations.ofAttempt(spec).filter((o) => o.kind === 'started').length).toBeLessThanOrEqual(1);
    expect(
      new Set(observations.ofAttempt(spec).flatMap((o) => (o.kind === 'ended' ? [o.exit.kind] : []))),
    ).toEqual(new Set(['exited']));
  });

  test('folders without a container are removed, the others are not', async () => {
    const made = await make(UNTIL_KILLED);
    const [live, orphan] = [newAttempt(), newAttempt()];
    await made.backend.start(live);
    await made.backend.start(orphan);
    await engine.getContainer(containerName(made.instance, orphan)).remove({ force: true });
    await made.channels.close(orphan);
    await made.backend.removeOrphanFolders(60_000);
    expect(await made.leftovers()).toContain(attemptName(orphan));
    await made.backend.removeOrphanFolders(0);
    expect(await made.leftovers()).toEqual([
      `/${containerName(made.instance, live)}`,
      attemptName(live),
      attemptName(live),
    ]);
  });

  test('the last lines that a container printed can be read until it is removed', async () => {
    const made = await make('echo one; echo two >&2; echo three; exit 1');
    const observations = listenTo(made);
    const spec = newAttempt();
    await made.backend.start(spec);
    await observations.of('ended', spec);
    expect((await made.backend.outputTail(spec)).split('\n').sort()).toEqual(['', 'one', 'three', 'two']);
    expect((await made.backend.outputTail(spec, 1)).split('\n')).toHaveLength(2);
    await made.backend.remove(spec);
    expect(await made.backend.outputTail(spec)).toBe('');
  });
});
