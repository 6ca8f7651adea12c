import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { ALL_PROPS, REQUIRED_PROPS, runJobManifest } from '../synth/run-job-manifest.ts';
import type { KubernetesObject } from './api-server.ts';
import { runJobs } from './run-job-arbitrary.ts';
import { schemaProblems, type Sourced, VERSIONS } from './schemas.ts';

/** Not Kubernetes' own: Argo CD's are held to their own schema in argocd.test.ts, Cilium's need a cluster with Cilium. */
const FOREIGN = ['argoproj.io/', 'cilium.io/'];

const dist = (): Sourced[] =>
  readdirSync('dist', { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.yaml'))
    .flatMap((path) =>
      parseAllDocuments(readFileSync(join('dist', path), 'utf8')).map((document) => {
        const object = document.toJS() as KubernetesObject;
        return { source: `${path} ${object.kind} ${object.metadata.name}`, object };
      }),
    )
    .filter(({ object }) => !FOREIGN.some((group) => object.apiVersion.startsWith(group)));

const JOB = runJobManifest(REQUIRED_PROPS);

describe(`Kubernetes ${VERSIONS.join(' and ')}`, () => {
  it('know every field of every manifest in dist/', async () => {
    const objects = dist();
    expect(objects.length).toBeGreaterThan(100);
    expect(await schemaProblems(objects)).toEqual([]);
  });

  it('know every field of a run, however hostile or extreme its properties are', async () => {
    const jobs = [REQUIRED_PROPS, ALL_PROPS].map(
      (props) => runJobManifest(props) as unknown as KubernetesObject,
    );
    const sourced = [...jobs, ...fc.sample(runJobs({}), 100)].map((object) => ({
      source: JSON.stringify(object),
      object,
    }));
    expect(await schemaProblems(sourced)).toEqual([]);
  });

  it.each([
    ['an unknown field', { ...JOB, spec: { ...JOB.spec, retries: 1 } }, 'retries'],
    ['a value of another type', { ...JOB, metadata: { name: 1 } }, 'metadata.name'],
    ['an unknown kind', { ...JOB, kind: 'RunJob' }, 'RunJob'],
  ])('do not know %s', async (_, object, named) => {
    const problems = await schemaProblems([{ source: 'it', object: object as unknown as KubernetesObject }]);
    expect(problems).toHaveLength(VERSIONS.length);
    for (const problem of problems) expect(problem).toContain(named);
  });
});
