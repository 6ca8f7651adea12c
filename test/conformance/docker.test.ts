import { dockerBackend } from '../support/docker-backend.ts';
import { docker } from '../support/docker.ts';
import { probeImage } from '../support/probe-image.ts';
import { describeWith } from '../support/requires.ts';
import { describeBackend } from './backend.ts';

describeWith('conformance', docker, (engine) => {
  describeBackend('docker', async ({ instance, program }) =>
    dockerBackend(engine, {
      instance,
      image: 'image' in program ? program.image : await probeImage(engine, program.script),
    }),
  );
});
