import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import type { Backend, BackendAttempt } from '../../controller/backends/types.ts';
import { BackendError } from '../../controller/errors.ts';
import type { AttemptRef } from '../../controller/model/ids.ts';
import { newAttempt, newInstance } from '../support/attempts.ts';
import { Observations } from '../support/observations.ts';

/** What the containers of a backend under test execute. */
export type Program =
  /** A script for busybox' shell. It is process 1. */
  | { readonly script: string }
  /** An image that does not exist. */
  | { readonly image: string };

/** A backend, made for one test. */
export interface BackendUnderTest {
  readonly backend: Backend;
  /** @returns what the backend made and did not remove, in words; must be empty at the end of a test. */
  readonly leftovers: () => Promise<string[]>;
  /** Removes everything, whatever state it is in. */
  readonly dispose: () => Promise<void>;
}

export type BackendFactory = (options: {
  readonly instance: string;
  readonly program: Program;
}) => Promise<BackendUnderTest>;

const UNTIL_TOLD = "trap 'exit 42' TERM; while :; do sleep 0.1; done";
const DEAF = "trap '' TERM; while :; do sleep 0.1; done";

/** The promises of `Backend` (controller/backends/types.ts), which every backend is held to. */
export function describeBackend(name: string, factory: BackendFactory): void {
  describe(`backend ${name}`, () => {
    const open: BackendUnderTest[] = [];
    afterEach(async () => {
      for (const one of open.splice(0)) await one.dispose();
    });

    async function make(program: Program, instance = newInstance()): Promise<BackendUnderTest> {
      const made = await factory({ instance, program });
      open.push(made);
      return made;
    }

    /** Listens from now until the end of the test. */
    function listenTo(backend: Backend): Observations {
      const observations = new Observations(backend);
      onTestFinished(() => observations.stop());
      return observations;
    }

    const listed = async (backend: Backend, ref: AttemptRef): Promise<BackendAttempt | undefined> =>
      (await backend.list()).find((a) => a.runId === ref.runId && a.attempt === ref.attempt);

    test('what is started is observed and listed as running', async () => {
      const { backend } = await make({ script: UNTIL_TOLD });
      const observations = listenTo(backend);
      const spec = newAttempt();
      const started = await backend.start(spec);
      expect(started).toMatchObject({ runId: spec.runId, attempt: 1, tenantId: 'acme', state: 'running' });
      expect(await observations.of('started', spec)).toMatchObject({ containerId: started.containerId });
      expect(await listed(backend, spec)).toEqual(started);
    });

    test('starting an attempt again returns the same container', async () => {
      const { backend } = await make({ script: UNTIL_TOLD });
      const spec = newAttempt();
      const first = await backend.start(spec);
      expect(await backend.start(spec)).toEqual(first);
      expect(await backend.list()).toEqual([first]);
    });

    test('starting an attempt many times at once makes one container', async () => {
      const { backend } = await make({ script: UNTIL_TOLD });
      const spec = newAttempt();
      const all = await Promise.all(Array.from({ length: 5 }, () => backend.start(spec)));
      expect(new Set(all.map((a) => a.containerId)).size).toBe(1);
      expect(await backend.list()).toEqual([{ ...all[0], state: 'running' }]);
    });

    test('starting an attempt that has ended does not run it again', async () => {
      const { backend } = await make({ script: 'exit 3' });
      const observations = listenTo(backend);
      const spec = newAttempt();
      const first = await backend.start(spec);
      await observations.of('ended', spec);
      expect(await backend.start(spec)).toMatchObject({
        containerId: first.containerId,
        state: 'ended',
        exit: { exitCode: 3 },
      });
    });

    test('two attempts of one run are two containers', async () => {
      const { backend } = await make({ script: UNTIL_TOLD });
      const spec = newAttempt();
      const first = await backend.start(spec);
      const second = await backend.start({ ...spec, attempt: 2 });
      expect(second.containerId).not.toBe(first.containerId);
      expect((await backend.list()).map((a) => a.attempt).sort()).toEqual([1, 2]);
    });

    test.each([0, 1, 70, 77])('exit code %i is observed', async (code) => {
      const { backend } = await make({ script: `exit ${code}` });
      const observations = listenTo(backend);
      const spec = newAttempt();
      const before = Date.now();
      const { containerId } = await backend.start(spec);
      const ended = await observations.of('ended', spec);
      expect(ended).toMatchObject({
        containerId,
        exit: { kind: 'exited', exitCode: code, oomKilled: false },
      });
      // Kubernetes tells whole seconds.
      expect(ended.exit.at.getTime()).toBeGreaterThan(before - 1000);
      expect(ended.exit.at.getTime()).toBeLessThan(Date.now() + 1000);
      expect(await listed(backend, spec)).toMatchObject({ state: 'ended', exit: { exitCode: code } });
    });

    test('running out of memory is told apart from any other kill', async () => {
      const { backend } = await make({ script: 'exec tail /dev/zero' });
      const observations = listenTo(backend);
      const spec = newAttempt();
      await backend.start(spec);
      expect((await observations.of('ended', spec)).exit).toMatchObject({
        kind: 'exited',
        exitCode: 137,
        oomKilled: true,
      });
      expect(await listed(backend, spec)).toMatchObject({ state: 'ended', exit: { oomKilled: true } });
    });

    test('stop lets the container end by itself', async () => {
      const { backend } = await make({ script: UNTIL_TOLD });
      const observations = listenTo(backend);
      const spec = newAttempt();
      await backend.start(spec);
      await observations.of('started', spec);
      await backend.stop(spec, { graceMs: 10_000 });
      expect((await observations.of('ended', spec)).exit).toMatchObject({
        kind: 'exited',
        exitCode: 42,
        oomKilled: false,
      });
    });

    test('stop kills what does not end by itself', async () => {
      const { backend } = await make({ script: DEAF });
      const observations = listenTo(backend);
      const spec = newAttempt();
      await backend.start(spec);
      const before = Date.now();
      await backend.stop(spec, { graceMs: 1000 });
      const { exit } = await observations.of('ended', spec);
      expect(exit).toMatchObject({ kind: 'exited', exitCode: 137, oomKilled: false });
      expect(exit.at.getTime() - before).toBeGreaterThanOrEqual(900);
    });

    test('stop without grace kills at once', async () => {
      const { backend } = await make({ script: DEAF });
      const observations = listenTo(backend);
      const spec = newAttempt();
      await backend.start(spec);
      await backend.stop(spec, { graceMs: 0 });
      expect((await observations.of('ended', spec)).exit).toMatchObject({ exitCode: 137, oomKilled: false });
    });

    test('stopping what has ended, or never was, is success', async () => {
      const { backend } = await make({ script: 'exit 0' });
      const observations = listenTo(backend);
      const spec = newAttempt();
      await backend.start(spec);
      await observations.of('ended', spec);
      for (const graceMs of [0, 1000]) {
        await backend.stop(spec, { graceMs });
        await backend.stop(newAttempt(), { graceMs });
      }
    });

    test.each([
      ['running', UNTIL_TOLD],
      ['ended', 'exit 0'],
    ])('remove leaves nothing of a container that is %s, and may be repeated', async (_state, script) => {
      const { backend, leftovers } = await make({ script });
      const observations = listenTo(backend);
      const spec = newAttempt();
      await backend.start(spec);
      await observations.of(script === UNTIL_TOLD ? 'started' : 'ended', spec);
      await backend.remove(spec);
      expect(await listed(backend, spec)).toBeUndefined();
      expect(await leftovers()).toEqual([]);
      await backend.remove(spec);
      await backend.remove(newAttempt());
    });

    test('a container that was removed by somebody else is observed as ended', async () => {
      const { backend } = await make({ script: UNTIL_TOLD });
      const observations = listenTo(backend);
      const spec = newAttempt();
      await backend.start(spec);
      await observations.of('started', spec);
      await backend.remove(spec);
      await observations.of('ended', spec);
    });

    test('who observes late still sees what runs and what has ended', async () => {
      const { backend } = await make({ script: 'test -e /run/wormhole/x; sleep 1; exit 9' });
      const ended = newAttempt();
      await backend.start(ended);
      await expect.poll(async () => (await listed(backend, ended))?.state, { timeout: 20_000 }).toBe('ended');
      const running = newAttempt();
      await backend.start(running);
      const observations = listenTo(backend);
      expect((await observations.of('ended', ended)).exit.exitCode).toBe(9);
      await observations.of('started', running);
      expect((await observations.of('ended', running)).exit.exitCode).toBe(9);
    });

    test('two instances do not see or touch each other', async () => {
      const one = await make({ script: UNTIL_TOLD });
      const other = await make({ script: UNTIL_TOLD });
      const observations = listenTo(other.backend);
      const spec = newAttempt();
      await one.backend.start(spec);
      const own = newAttempt();
      await other.backend.start(own);
      await observations.of('started', own);
      expect((await other.backend.list()).map((a) => a.runId)).toEqual([own.runId]);
      expect(observations.ofAttempt(spec)).toEqual([]);
      await other.backend.stop(spec, { graceMs: 0 });
      await other.backend.remove(spec);
      expect(await listed(one.backend, spec)).toMatchObject({ state: 'running' });
    });

    test('an image that is not there is IMAGE_PULL_FAILED, and nothing is left', async () => {
      const { backend, leftovers } = await make({ image: 'wormhole-nowhere:missing' });
      const error = await backend.start(newAttempt()).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(BackendError);
      expect(error).toMatchObject({ code: 'BACKEND_FAILED', reason: 'IMAGE_PULL_FAILED' });
      expect((error as BackendError).message).toContain('wormhole-nowhere:missing');
      expect(await leftovers()).toEqual([]);
    });

    test('observe ends when it is told to', async () => {
      const { backend } = await make({ script: 'exit 0' });
      const observations = new Observations(backend);
      await backend.start(newAttempt());
      await observations.stop();
    });
  });
}
