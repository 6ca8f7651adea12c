import { expect } from 'vitest';
import { docker } from '../support/docker.ts';
import { kubernetesBackend } from '../support/kubernetes-backend.ts';
import { probeImages } from '../support/kubernetes-images.ts';
import { cluster, describeWith } from '../support/requires.ts';
import { describeBackend } from './backend.ts';

describeWith('conformance', docker, (engine) => {
  describeWith('with a cluster', cluster, (facts) => {
    const imageOf = probeImages(engine, facts);
    describeBackend('kubernetes', async ({ instance, program }) => {
      const made = await kubernetesBackend(facts, {
        instance,
        image: 'image' in program ? program.image : await imageOf(program.script),
      });
      const dispose = async (): Promise<void> => {
        await made.dispose();
        // What is made good again all the time passes every test, slowly.
        expect(made.warnings).toEqual([]);
      };
      return { ...made, dispose };
    });
  });
});
