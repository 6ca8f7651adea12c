import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test as base } from 'vitest';
import { jobName, jobPath } from '../../controller/backends/kubernetes/job-path.ts';
import { jobSchema } from '../../controller/backends/kubernetes/objects.ts';
import { listAll } from '../../controller/backends/kubernetes/list-all.ts';
import type { AttemptSpec, Backend } from '../../controller/backends/types.ts';
import { judge } from '../../controller/model/verdict.ts';
import { newAttempt } from '../support/attempts.ts';
import { docker } from '../support/docker.ts';
import {
  configOf,
  kubernetesBackend,
  podsPath,
  SMALL,
  type KubernetesBackendUnderTest,
} from '../support/kubernetes-backend.ts';
import { probeImages } from '../support/kubernetes-images.ts';
import { faultyWay, type FaultyWay } from '../support/kubernetes-proxy.ts';
import { Observations } from '../support/observations.ts';
import { cluster, describeWith } from '../support/requires.ts';

const UNTIL_TOLD = "trap 'exit 42' TERM; while :; do sleep 0.1; done";
const BRIEF = 'sleep 3; exit 9';

type Options = Omit<Parameters<typeof kubernetesBackend>[1], 'image'> & { readonly script?: string };

interface Tools {
  readonly make: (options?: Options) => Promise<KubernetesBackendUnderTest>;
  readonly listenTo: (backend: Backend) => Observations;
  /** A way to the API server for the options of `make`. */
  readonly way: FaultyWay;
}

const anAttempt = (overrides: Partial<AttemptSpec> = {}): AttemptSpec =>
  newAttempt({ limits: SMALL, ...overrides });

const NOWHERE = { nodeSelector: { 'wormhole.test/nowhere': 'true' } };

describeWith('the Kubernetes backend', docker, (engine) => {
  describeWith('on a cluster', cluster, (facts) => {
    const imageOf = probeImages(engine, facts);
    const test = base.extend<Tools>({
      make: async ({ onTestFinished }, use) => {
        await use(async ({ script = UNTIL_TOLD, ...options } = {}) => {
          const made = await kubernetesBackend(facts, { ...options, image: await imageOf(script) });
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
      way: async ({ onTestFinished }, use) => {
        const way = await faultyWay(configOf(facts.kubeconfig).getCurrentCluster()?.server ?? '');
        onTestFinished(() => way.close());
        await use(way);
      },
    });

    test('a run costs one write, from its start to its removal', async ({ make, listenTo }) => {
      const { backend, writes, warnings } = await make({ script: BRIEF });
      const observations = listenTo(backend);
      const specs = [anAttempt(), anAttempt(), anAttempt()];
      await Promise.all(
        specs.map(async (spec) => {
          await backend.start(spec);
          await observations.of('ended', spec);
          await backend.stop(spec, { graceMs: 0 });
          await backend.remove(spec);
        }),
      );
      expect(writes).toEqual(specs.map(() => 'POST jobs'));
      expect(await backend.list()).toEqual([]);
      expect(warnings).toEqual([]);
    });

    describe.concurrent('what the cluster refuses', () => {
      test('a run over the quota ends as QUOTA_EXCEEDED within seconds', async ({ make, listenTo }) => {
        const { backend } = await make({ maxConcurrent: 1 });
        const observations = listenTo(backend);
        const first = anAttempt();
        await backend.start(first);
        await observations.of('started', first);
        const second = anAttempt();
        await backend.start(second);
        const { exit } = await observations.of('ended', second, 15_000);
        expect(exit).toMatchObject({ kind: 'unstarted', cause: { reason: 'QUOTA_EXCEEDED' } });
        expect(exit.cause?.message).toContain('tenant-quota');
      });

      test('a run that admission refuses ends as ADMISSION_DENIED', async ({ make, listenTo }) => {
        const { backend, leftovers } = await make();
        const observations = listenTo(backend);
        const large = anAttempt({ limits: { ...SMALL, cpus: 4 } });
        await backend.start(large);
        const { exit } = await observations.of('ended', large, 15_000);
        expect(exit).toMatchObject({ kind: 'unstarted', cause: { reason: 'ADMISSION_DENIED' } });
        expect(exit.cause?.message).toMatch(/maximum cpu usage/);
        await backend.remove(large);
        expect(await leftovers()).toEqual([]);
      });

      test('a tenant without a namespace is ADMISSION_DENIED with the way out', async ({ make }) => {
        const { backend } = await make();
        const stranger = anAttempt({ tenantId: 'stranger' as AttemptSpec['tenantId'] });
        await expect(backend.start(stranger)).rejects.toMatchObject({ reason: 'ADMISSION_DENIED' });
        expect(await backend.find(stranger)).toBeUndefined();
        await backend.stop(stranger, { graceMs: 0 });
        await backend.remove(stranger);
      });

      test('a run that no node has room for ends as UNSCHEDULABLE in time', async ({ make, listenTo }) => {
        const { backend, leftovers } = await make({ placement: NOWHERE, unschedulableTimeoutMs: 2000 });
        const observations = listenTo(backend);
        const spec = anAttempt();
        await backend.start(spec);
        const { exit } = await observations.of('ended', spec, 10_000);
        expect(exit).toMatchObject({ kind: 'unstarted', cause: { reason: 'UNSCHEDULABLE' } });
        await backend.remove(spec);
        expect(await leftovers()).toEqual([]);
        expect(await backend.list()).toEqual([]);
      });

      test('a Job ends its run at the deadline when nobody else does', async ({ make, listenTo }) => {
        const { backend } = await make({ placement: NOWHERE });
        const observations = listenTo(backend);
        const spec = anAttempt({ deadlineInMs: -13_000 });
        await backend.start(spec);
        expect((await observations.of('ended', spec, 30_000)).exit).toMatchObject({
          cause: { reason: 'DEADLINE_EXCEEDED' },
        });
      });
    });

    describe.concurrent('what others do', () => {
      test('an eviction is told apart', async ({ make, listenTo }) => {
        const { backend, admin, namespace, pods } = await make();
        const observations = listenTo(backend);
        const spec = anAttempt();
        await backend.start(spec);
        await observations.of('started', spec);
        const [pod] = await pods();
        const name = pod?.metadata.name ?? '';
        await admin.send({
          method: 'POST',
          path: `${podsPath(namespace)}/${name}/eviction`,
          body: { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } },
        });
        expect((await observations.of('ended', spec)).exit).toMatchObject({
          kind: 'exited',
          exitCode: 42,
          cause: { reason: 'EVICTED' },
        });
      });

      test.for([0, 5])(
        'a pod that is deleted by hand with %i s of grace has ended',
        async (gracePeriodSeconds, { make, listenTo }) => {
          const { backend, admin, namespace, pods } = await make();
          const observations = listenTo(backend);
          const spec = anAttempt();
          await backend.start(spec);
          await observations.of('started', spec);
          const [pod] = await pods();
          await admin.send({
            method: 'DELETE',
            path: `${podsPath(namespace)}/${pod?.metadata.name ?? ''}`,
            body: { gracePeriodSeconds },
          });
          const { exit } = await observations.of('ended', spec);
          expect(exit.exitCode).not.toBe(0);
          expect(await backend.find(spec)).toMatchObject({ state: 'ended' });
        },
      );

      test('a Job that is deleted by hand has ended', async ({ make, listenTo }) => {
        const { backend, admin, namespace } = await make();
        const observations = listenTo(backend);
        const spec = anAttempt();
        await backend.start(spec);
        await observations.of('started', spec);
        const body = { propagationPolicy: 'Background' };
        await admin.send({ method: 'DELETE', path: jobPath(namespace, jobName(spec)), body });
        const { exit } = await observations.of('ended', spec);
        expect(exit).toMatchObject({ kind: 'exited', exitCode: 42 });
        expect(exit.cause).toBeUndefined();
        const result = { status: 'CANCELED', reason: 'CANCELED' } as const;
        const facts = {
          claimed: true,
          stopCause: null,
          cancelRequested: false,
          result,
          exit,
          deadlineAfterExitMs: spec.deadlineInMs,
        };
        expect(judge(facts)).toMatchObject({ status: 'FAILED', reason: 'RUNNER_LOST' });
      });

      test('a Job that is deleted by hand before it had a pod is lost', async ({ make, listenTo }) => {
        const { backend, admin, namespace } = await make({ placement: NOWHERE });
        const observations = listenTo(backend);
        const spec = anAttempt();
        await backend.start(spec);
        const body = { propagationPolicy: 'Background' };
        await admin.send({ method: 'DELETE', path: jobPath(namespace, jobName(spec)), body });
        expect((await observations.of('ended', spec)).exit.kind).toBe('lost');
      });

      test('a Job of the same name that is not ours is an alarm, and is left alone', async ({ make }) => {
        const { backend, another, namespace, admin, warnings } = await make();
        const spec = anAttempt();
        await backend.start(spec);
        expect(another().name).toBe('kubernetes');
        await expect(backend.start({ ...spec, limits: { ...SMALL, memoryMb: 32 } })).rejects.toMatchObject({
          reason: 'ADMISSION_DENIED',
          retryable: false,
        });
        expect(warnings.join()).toContain('is not ours');
        const { items } = await listAll(admin, jobSchema, { path: jobPath(namespace) });
        expect(items.length).toBe(1);
      });
    });

    describe.concurrent('a bad way to the API server', () => {
      test('what ends while it is away for seconds is observed, and starts wait for it', async ({
        make,
        listenTo,
        way,
      }) => {
        const { backend, admin, namespace } = await make({ script: BRIEF, server: way.server });
        const observations = listenTo(backend);
        const during = anAttempt();
        await backend.start(during);
        await observations.of('started', during);
        way.set('closed');
        const next = anAttempt();
        const starting = backend.start(next);
        await delay(4000);
        way.set('open');
        expect((await observations.of('ended', during)).exit.exitCode).toBe(9);
        await starting;
        expect((await observations.of('ended', next)).exit.exitCode).toBe(9);
        const { items } = await listAll(admin, jobSchema, { path: jobPath(namespace) });
        expect(items.length).toBe(2);
      });

      test('a create whose answer was lost is found again, and makes one Job', async ({
        make,
        listenTo,
        way,
      }) => {
        const { backend, admin, namespace } = await make({ script: BRIEF, server: way.server });
        const observations = listenTo(backend);
        // Connections are there, so that the request gets through and only its answer does not.
        const first = anAttempt();
        await backend.start(first);
        await observations.of('started', first);
        way.set('mute');
        const spec = anAttempt();
        const starting = backend.start(spec);
        await delay(1000);
        way.set('closed');
        way.set('open');
        await starting;
        expect((await observations.of('ended', spec)).exit.exitCode).toBe(9);
        const { items } = await listAll(admin, jobSchema, { path: jobPath(namespace) });
        expect(items.length).toBe(2);
      });

      test('a watch that falls silent delays what happens by a connection, no more', async ({
        make,
        listenTo,
        way,
      }) => {
        const { backend } = await make({ script: BRIEF, server: way.server, connectionMs: 1000 });
        const observations = listenTo(backend);
        const spec = anAttempt();
        await backend.start(spec);
        await observations.of('started', spec);
        way.set('mute');
        await delay(4000);
        // Connections that are there stay as dead as they are; new ones work.
        way.set('open');
        expect((await observations.of('ended', spec, 15_000)).exit.exitCode).toBe(9);
      });
    });
  });
});
