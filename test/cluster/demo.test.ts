import { expect, test } from 'vitest';
import { SCENARIOS } from '../../controller/demo/scenarios.ts';
import { Demo, DEMO_MS } from '../support/demo-process.ts';
import { dockerWithRunnerImage } from '../support/docker.ts';
import { cluster, describeWith } from '../support/requires.ts';

describeWith('the demo', dockerWithRunnerImage, (engine) => {
  describeWith('in a cluster of its own', cluster, () => {
    test(
      'brings up what dist/dev declares, and every run ends as it should',
      async () => {
        const demo = new Demo(engine, 'kubernetes');
        const { exitCode, stderr } = await demo.ended();
        const summary = demo.events.at(-1);
        expect({ exitCode, stderr, last: summary?.type }).toEqual({
          exitCode: 0,
          stderr: '',
          last: 'summary',
        });
        expect(summary?.runs?.flatMap(({ differences }) => differences)).toEqual([]);
        expect(summary?.checks?.filter(({ isGood }) => !isGood)).toEqual([]);
        expect(summary?.runs).toHaveLength(SCENARIOS.length);
      },
      DEMO_MS,
    );
  });
});
