import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { docker } from '../support/docker.ts';
import { kubernetesBackend } from '../support/kubernetes-backend.ts';
import { probeImage } from '../support/probe-image.ts';
import { cluster, describeWith } from '../support/requires.ts';
import { describeBackend } from './backend.ts';

describeWith('conformance', docker, (engine) => {
  describeWith('with a cluster', cluster, (facts) => {
    const run = promisify(execFile);
    const loaded = new Map<string, Promise<string>>();
    const load = async (script: string): Promise<string> => {
      const image = await probeImage(engine, script);
      const [program = '', ...args] = facts.loadImage ?? [];
      if (program !== '') await run(program, [...args, image]);
      return image;
    };
    const imageOf = (script: string): Promise<string> => {
      const loading = loaded.get(script) ?? load(script);
      loaded.set(script, loading);
      return loading;
    };
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
