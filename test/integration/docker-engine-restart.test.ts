import { readdir } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { newAttempt } from '../support/attempts.ts';
import { dockerBackend, type DockerBackendUnderTest } from '../support/docker-backend.ts';
import { docker } from '../support/docker.ts';
import { Observations } from '../support/observations.ts';
import { probeImage } from '../support/probe-image.ts';
import { describeWith, root } from '../support/requires.ts';
import { SecondEngine } from '../support/second-engine.ts';

const UNTIL_TOLD = "trap 'exit 42' TERM; while :; do sleep 0.1; done";

describeWith('an engine of its own', root, () => {
  describeWith('beside the first', docker, (first) => {
    async function make(
      options: { readonly liveRestore?: boolean } = {},
    ): Promise<{ engine: SecondEngine; made: DockerBackendUnderTest; observations: Observations }> {
      const engine = await SecondEngine.start(options);
      onTestFinished(() => engine.dispose());
      const image = await probeImage(first, UNTIL_TOLD);
      await text(await engine.docker.loadImage(await first.getImage(image).get()));
      const made = await dockerBackend(engine.docker, { image });
      onTestFinished(() => made.dispose());
      const observations = new Observations(made.backend);
      onTestFinished(() => observations.stop());
      return { engine, made, observations };
    }

    test('what ends with an engine that is stopped is observed with its exit code', async () => {
      const { engine, made, observations } = await make();
      const spec = newAttempt();
      await made.backend.start(spec);
      await observations.of('started', spec);
      await engine.down('SIGTERM');
      await engine.up();
      expect((await observations.of('ended', spec)).exit).toMatchObject({ kind: 'exited', exitCode: 42 });
    });

    test('what an engine takes along that was killed is observed as ended once it is back, and new runs start', async () => {
      const { engine, made, observations } = await make();
      const spec = newAttempt();
      await made.backend.start(spec);
      await observations.of('started', spec);
      await engine.down('SIGKILL');
      await expect(made.backend.start(newAttempt())).rejects.toMatchObject({
        reason: 'NODE_LOST',
        retryable: true,
        // Nothing was decided about the attempt: the same start is repeated until the engine is back.
        unanswered: true,
      });
      await engine.up();
      // Without live restore the engine stops what it finds alive.
      const { exit } = await observations.of('ended', spec);
      expect(exit).toMatchObject({ kind: 'exited', exitCode: 42, oomKilled: false });
      const next = newAttempt();
      await made.backend.start(next);
      await observations.of('started', next);
    });

    test('what is removed while the engine is away leaves no folder, and is gone once it is back', async () => {
      const { engine, made } = await make();
      const spec = newAttempt();
      await made.backend.start(spec);
      await engine.down('SIGKILL');
      await expect(made.backend.remove(spec)).rejects.toThrow();
      expect([await readdir(made.runDir), made.channels.openNames]).toEqual([[], []]);
      await engine.up();
      await made.backend.remove(spec);
      expect(await made.leftovers()).toEqual([]);
    });

    test('what lives on under live restore is not observed as ended', async () => {
      const { engine, made, observations } = await make({ liveRestore: true });
      const spec = newAttempt();
      const started = await made.backend.start(spec);
      await observations.of('started', spec);
      await engine.down('SIGKILL');
      await engine.up({ liveRestore: true });
      expect(await made.backend.start(spec)).toEqual(started);
      expect(observations.ofAttempt(spec).filter((o) => o.kind === 'ended')).toEqual([]);
      await made.backend.stop(spec, { graceMs: 10_000 });
      expect((await observations.of('ended', spec)).exit).toMatchObject({ kind: 'exited', exitCode: 42 });
    });
  });
});
