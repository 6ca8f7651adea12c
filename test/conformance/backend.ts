import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test as base } from 'vitest';
import type { AttemptSpec, Backend, BackendAttempt } from '../../controller/backends/types.ts';
import { attemptName, type AttemptRef } from '../../controller/model/ids.ts';
import { newAttempt, newInstance } from '../support/attempts.ts';
import { until } from '../support/cluster/until.ts';
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
  /** @returns another backend on the same engine or cluster, as after a restart of the controller. */
  readonly another: () => Backend;
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
/** A shell sets its trap a moment after its container has started; until then process 1 hears no SIGTERM. */
const TRAP_MS = 1000;
const DEAF = "trap '' TERM; while :; do sleep 0.1; done";
/** Small: the tests run beside each other. */
const LIMITS = { cpus: 0.1, memoryMb: 64, pids: 32, tmpMb: 8 };
const anAttempt = (): AttemptSpec => newAttempt({ limits: LIMITS });

interface Tools {
  /** Makes a backend for the length of the test. */
  readonly make: (program: Program) => Promise<BackendUnderTest>;
  /** Listens from now until the end of the test. */
  readonly listenTo: (backend: Backend) => Observations;
}

const listed = async (backend: Backend, ref: AttemptRef): Promise<BackendAttempt | undefined> =>
  (await backend.list()).find((a) => a.runId === ref.runId && a.attempt === ref.attempt);

const untilListed = (backend: Backend, ref: AttemptRef, state: BackendAttempt['state']): Promise<void> =>
  until(`${attemptName(ref)} to be ${state}`, 20_000, async () => {
    const now = (await listed(backend, ref))?.state;
    if (now !== state) throw new Error(`it is ${now ?? 'not listed'}`);
  });

/** The promises of `Backend` (controller/backends/types.ts), which every backend is held to. */
export function describeBackend(name: string, factory: BackendFactory): void {
  const test = base.extend<Tools>({
    make: async ({ onTestFinished }, use) => {
      await use(async (program) => {
        const made = await factory({ instance: newInstance(), program });
        onTestFinished(() => made.dispose());
        return made;
      });
    },
    listenTo: async ({ onTestFinished }, use) => {
      await use((backend) => {
        const observations = new Observations(backend);
        onTestFinished(() => observations.stop());
        return observations;
      });
    },
  });

  describe.concurrent(`backend ${name}`, () => {
    test('what is started is listed at once, and is observed and found running', async ({
      make,
      listenTo,
    }) => {
      const { backend } = await make({ script: UNTIL_TOLD });
      const observations = listenTo(backend);
      const spec = anAttempt();
      const started = await backend.start(spec);
      expect(started).toMatchObject({ runId: spec.runId, attempt: 1, tenantId: 'acme' });
      // "created" would ask for another start.
      expect(['pending', 'running']).toContain(started.state);
      expect(await listed(backend, spec)).toMatchObject({ containerId: started.containerId });
      expect(await observations.of('started', spec)).toMatchObject({ containerId: started.containerId });
      const running = { ...started, state: 'running' };
      expect(await listed(backend, spec)).toEqual(running);
      expect(await backend.find(spec)).toEqual(running);
    });

    test('starting an attempt again returns the same container', async ({ make }) => {
      const { backend } = await make({ script: UNTIL_TOLD });
      const spec = anAttempt();
      const { containerId } = await backend.start(spec);
      expect(await backend.start(spec)).toMatchObject({ runId: spec.runId, containerId });
      expect((await backend.list()).map((a) => a.containerId)).toEqual([containerId]);
    });

    test('starting an attempt many times at once makes one container', async ({ make, listenTo }) => {
      const { backend } = await make({ script: UNTIL_TOLD });
      const observations = listenTo(backend);
      const spec = anAttempt();
      const all = await Promise.all(Array.from({ length: 5 }, () => backend.start(spec)));
      expect(new Set(all.map((a) => a.containerId)).size).toBe(1);
      await observations.of('started', spec);
      expect(await backend.list()).toEqual([{ ...all[0], state: 'running' }]);
    });

    test('starting an attempt that has ended does not run it again', async ({ make, listenTo }) => {
      const { backend } = await make({ script: 'exit 3' });
      const observations = listenTo(backend);
      const spec = anAttempt();
      const first = await backend.start(spec);
      await observations.of('ended', spec);
      expect(await backend.start(spec)).toMatchObject({
        containerId: first.containerId,
        state: 'ended',
        exit: { exitCode: 3 },
      });
    });

    test('two attempts of one run are two containers', async ({ make, listenTo }) => {
      const { backend } = await make({ script: UNTIL_TOLD });
      const observations = listenTo(backend);
      const spec = anAttempt();
      const second = { ...spec, attempt: 2 };
      const ids = [(await backend.start(spec)).containerId, (await backend.start(second)).containerId];
      expect(new Set(ids).size).toBe(2);
      expect(await observations.of('started', spec)).toMatchObject({ containerId: ids[0] });
      expect(await observations.of('started', second)).toMatchObject({ containerId: ids[1] });
      expect((await backend.list()).map((a) => a.attempt).sort()).toEqual([1, 2]);
      await backend.stop(spec, { graceMs: 0 });
      await observations.of('ended', spec);
      expect(await backend.find(second)).toMatchObject({ state: 'running' });
    });

    test.for([0, 1, 70, 77])('exit code %i is observed', async (code, { make, listenTo }) => {
      const { backend } = await make({ script: `exit ${code}` });
      const observations = listenTo(backend);
      const spec = anAttempt();
      const before = Date.now();
      const { containerId } = await backend.start(spec);
      const ended = await observations.of('ended', spec);
      expect(ended).toMatchObject({
        containerId,
        exit: { kind: 'exited', exitCode: code, oomKilled: false },
      });
      expect(ended.exit.cause).toBeUndefined();
      // Kubernetes tells whole seconds.
      expect(ended.exit.at.getTime()).toBeGreaterThan(before - 1000);
      expect(ended.exit.at.getTime()).toBeLessThan(Date.now() + 1000);
      for (const known of [await listed(backend, spec), await backend.find(spec)]) {
        expect(known).toMatchObject({ state: 'ended', exit: { exitCode: code } });
      }
    });

    test('running out of memory is told apart from any other kill', async ({ make, listenTo }) => {
      const { backend } = await make({ script: 'exec tail /dev/zero' });
      const observations = listenTo(backend);
      const spec = anAttempt();
      await backend.start(spec);
      expect((await observations.of('ended', spec)).exit).toMatchObject({
        kind: 'exited',
        exitCode: 137,
        oomKilled: true,
      });
      expect(await listed(backend, spec)).toMatchObject({ state: 'ended', exit: { oomKilled: true } });
    });

    test('stop lets the container end by itself', async ({ make, listenTo }) => {
      const { backend } = await make({ script: UNTIL_TOLD });
      const observations = listenTo(backend);
      const spec = anAttempt();
      await backend.start(spec);
      await observations.of('started', spec);
      await delay(TRAP_MS);
      await backend.stop(spec, { graceMs: 10_000 });
      const { exit } = await observations.of('ended', spec);
      expect(exit).toMatchObject({ kind: 'exited', exitCode: 42, oomKilled: false });
      expect(exit.cause).toBeUndefined();
    });

    test('stop kills what does not end by itself', async ({ make, listenTo }) => {
      const { backend } = await make({ script: DEAF });
      const observations = listenTo(backend);
      const spec = anAttempt();
      await backend.start(spec);
      await observations.of('started', spec);
      const before = Date.now();
      await backend.stop(spec, { graceMs: 2000 });
      const { exit } = await observations.of('ended', spec);
      expect(exit).toMatchObject({ kind: 'exited', exitCode: 137, oomKilled: false });
      // Kubernetes tells whole seconds.
      expect(exit.at.getTime() - before).toBeGreaterThanOrEqual(900);
    });

    test('stop without grace kills at once', async ({ make, listenTo }) => {
      const { backend } = await make({ script: DEAF });
      const observations = listenTo(backend);
      const spec = anAttempt();
      await backend.start(spec);
      await observations.of('started', spec);
      const before = Date.now();
      await backend.stop(spec, { graceMs: 0 });
      const { exit } = await observations.of('ended', spec);
      expect(exit).toMatchObject({ exitCode: 137, oomKilled: false });
      expect(exit.at.getTime() - before).toBeLessThan(8000);
    });

    test('an attempt that is stopped as soon as it was started ends', async ({ make, listenTo }) => {
      const { backend } = await make({ script: DEAF });
      const observations = listenTo(backend);
      const spec = anAttempt();
      await backend.start(spec);
      await backend.stop(spec, { graceMs: 0 });
      await observations.of('ended', spec, 30_000);
      expect(await listed(backend, spec)).toMatchObject({ state: 'ended' });
    });

    test('stopping what has ended, or never was, is success', async ({ make, listenTo }) => {
      const { backend } = await make({ script: 'exit 0' });
      const observations = listenTo(backend);
      const spec = anAttempt();
      await backend.start(spec);
      await observations.of('ended', spec);
      for (const graceMs of [0, 1000]) {
        await backend.stop(spec, { graceMs });
        await backend.stop(anAttempt(), { graceMs });
      }
      expect(await listed(backend, spec)).toMatchObject({ state: 'ended', exit: { exitCode: 0 } });
    });

    test('what never was is not found', async ({ make }) => {
      const { backend } = await make({ script: 'exit 0' });
      expect(await backend.find(anAttempt())).toBeUndefined();
    });

    test.for([
      ['running', UNTIL_TOLD],
      ['ended', 'exit 0'],
    ] as const)(
      'remove leaves nothing of a container that is %s, and may be repeated',
      async ([state, script], { make, listenTo }) => {
        const { backend, leftovers } = await make({ script });
        const observations = listenTo(backend);
        const spec = anAttempt();
        await backend.start(spec);
        await observations.of(state === 'running' ? 'started' : 'ended', spec);
        await backend.remove(spec);
        expect(await listed(backend, spec)).toBeUndefined();
        expect(await leftovers()).toEqual([]);
        await backend.remove(spec);
        await backend.remove(anAttempt());
        expect(await backend.list()).toEqual([]);
      },
    );

    test('a container that was removed by somebody else is observed as ended', async ({ make, listenTo }) => {
      const { backend } = await make({ script: UNTIL_TOLD });
      const observations = listenTo(backend);
      const spec = anAttempt();
      await backend.start(spec);
      await observations.of('started', spec);
      await backend.remove(spec);
      await observations.of('ended', spec);
    });

    test('who observes late still sees what runs and what has ended', async ({ make, listenTo }) => {
      const { backend } = await make({ script: 'sleep 3; exit 9' });
      const ended = anAttempt();
      await backend.start(ended);
      await untilListed(backend, ended, 'ended');
      const running = anAttempt();
      await backend.start(running);
      await untilListed(backend, running, 'running');
      const observations = listenTo(backend);
      expect((await observations.of('ended', ended)).exit.exitCode).toBe(9);
      await observations.of('started', running);
      expect((await observations.of('ended', running)).exit.exitCode).toBe(9);
    });

    test('a backend that takes over finds, lists and observes what another one started', async ({
      make,
      listenTo,
    }) => {
      const { backend, another } = await make({ script: UNTIL_TOLD });
      const observed = listenTo(backend);
      const specs = [anAttempt(), anAttempt()] as const;
      for (const spec of specs) {
        await backend.start(spec);
        await observed.of('started', spec);
      }
      await delay(TRAP_MS);
      const [live, ended] = specs;
      await backend.stop(ended, { graceMs: 10_000 });
      await observed.of('ended', ended);
      const next = another();
      expect(await next.find(live)).toMatchObject({ state: 'running' });
      expect(await next.find(ended)).toMatchObject({ state: 'ended', exit: { exitCode: 42 } });
      expect((await next.list()).map((a) => a.runId).sort()).toEqual(specs.map((s) => s.runId).sort());
      await next.adopt(live);
      const observations = listenTo(next);
      await observations.of('started', live);
      expect((await observations.of('ended', ended)).exit).toMatchObject({ exitCode: 42 });
      await next.stop(live, { graceMs: 10_000 });
      expect((await observations.of('ended', live)).exit).toMatchObject({ exitCode: 42 });
    });

    test('two instances do not see or touch each other', async ({ make, listenTo }) => {
      const one = await make({ script: UNTIL_TOLD });
      const other = await make({ script: UNTIL_TOLD });
      const observations = listenTo(other.backend);
      const observed = listenTo(one.backend);
      const spec = anAttempt();
      await one.backend.start(spec);
      const own = anAttempt();
      await other.backend.start(own);
      await observed.of('started', spec);
      await observations.of('started', own);
      expect((await other.backend.list()).map((a) => a.runId)).toEqual([own.runId]);
      expect(observations.ofAttempt(spec)).toEqual([]);
      expect(await other.backend.find(spec)).toBeUndefined();
      await other.backend.stop(spec, { graceMs: 0 });
      await other.backend.remove(spec);
      expect(await listed(one.backend, spec)).toMatchObject({ state: 'running' });
    });

    test('an image that is not there is IMAGE_PULL_FAILED, and nothing is left', async ({
      make,
      listenTo,
    }) => {
      const { backend, leftovers } = await make({ image: 'wormhole-nowhere:missing' });
      const observations = listenTo(backend);
      const spec = anAttempt();
      // Who pulls decides whether the start fails, or the attempt that was started.
      const cause = await backend.start(spec).then(
        async () => {
          const { exit } = await observations.of('ended', spec);
          expect(exit).toMatchObject({ kind: 'unstarted', exitCode: null });
          return exit.cause;
        },
        (error: unknown) => error,
      );
      expect(cause).toMatchObject({
        reason: 'IMAGE_PULL_FAILED',
        message: expect.stringContaining('wormhole-nowhere:missing') as string,
      });
      await backend.remove(spec);
      expect(await listed(backend, spec)).toBeUndefined();
      expect(await leftovers()).toEqual([]);
    });

    test('observe ends when it is told to', async ({ make }) => {
      const { backend } = await make({ script: 'exit 0' });
      const observations = new Observations(backend);
      await backend.start(anAttempt());
      await observations.stop();
    });
  });
}
