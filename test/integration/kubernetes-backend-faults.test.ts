import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test as base, vi } from 'vitest';
import { pino } from 'pino';
import { z } from 'zod';
import { ApiClient, type ApiRequest } from '../../controller/backends/kubernetes/api-client.ts';
import { ApiError } from '../../controller/backends/kubernetes/api-error.ts';
import { selector } from '../../controller/backends/kubernetes/identity.ts';
import { jobName, jobPath } from '../../controller/backends/kubernetes/job-path.ts';
import { listAll } from '../../controller/backends/kubernetes/list-all.ts';
import { jobSchema } from '../../controller/backends/kubernetes/objects.ts';
import { PodWatch } from '../../controller/backends/kubernetes/pod-watch.ts';
import type { AttemptSpec, Backend, BackendAttempt } from '../../controller/backends/types.ts';
import { BackendError } from '../../controller/errors.ts';
import { newAttempt } from '../support/attempts.ts';
import { until } from '../support/cluster/until.ts';
import { docker } from '../support/docker.ts';
import {
  configOf,
  create,
  kubernetesBackend,
  podsPath,
  SMALL,
  type KubernetesBackendUnderTest,
} from '../support/kubernetes-backend.ts';
import { probeImages } from '../support/kubernetes-images.ts';
import { killServer, ownCluster } from '../support/kubernetes-own-cluster.ts';
import { Observations } from '../support/observations.ts';
import { describeWith } from '../support/requires.ts';

const UNTIL_TOLD = "trap 'exit 42' TERM; while :; do sleep 0.1; done";
const BRIEF = 'sleep 3; exit 9';
/** More than a run may leave on its node's disk (64 MiB), faster than the kubelet rotates logs. */
const FLOOD = 'while :; do head -c 80000000 /dev/zero; sleep 5; done';
/** An API server that was killed answers again within this, on a machine that does other things, too. */
const BACK_MS = 45_000;
/** The garbage collector of pods looks every 20 s, and waits 40 s for a node that is gone to come back. */
const NODE_GONE_MS = 120_000;
/** The kubelet measures disks every 10 s, and is told what containers use no more often. */
const EVICTED_MS = 90_000;
const MINUTE_MS = 60_000;

type Options = Partial<Parameters<typeof kubernetesBackend>[1]> & { readonly script?: string };

interface Tools {
  readonly make: (options?: Options) => Promise<KubernetesBackendUnderTest>;
  readonly listenTo: (backend: Backend) => Observations;
}

const anAttempt = (overrides: Partial<AttemptSpec> = {}): AttemptSpec =>
  newAttempt({ limits: SMALL, deadlineInMs: 5 * MINUTE_MS, ...overrides });

/** Starts an attempt as the dispatcher does: what may be tried again is, with the same attempt. */
async function startPatiently(backend: Backend, spec: AttemptSpec): Promise<BackendAttempt> {
  for (;;) {
    try {
      return await backend.start(spec);
    } catch (error) {
      if (!(error instanceof BackendError) || !error.retryable) throw error;
    }
  }
}

/** A client whose first watch is held back until it is let go: what a controller does that was asleep. */
class SleepyClient extends ApiClient {
  readonly refusals: (number | null)[] = [];
  readonly #awake = Promise.withResolvers<undefined>();
  readonly asleep = Promise.withResolvers<undefined>();

  wake(): void {
    this.#awake.resolve(undefined);
  }

  override async *stream(
    call: ApiRequest & { readonly signal: AbortSignal },
  ): AsyncGenerator<unknown, void, undefined> {
    this.asleep.resolve(undefined);
    await this.#awake.promise;
    try {
      for await (const event of super.stream(call)) {
        const { type, object } = event as { type: string; object: { code?: number } };
        if (type === 'ERROR') this.refusals.push(object.code ?? null);
        yield event;
      }
    } catch (error) {
      if (error instanceof ApiError) this.refusals.push(error.status);
      throw error;
    }
  }
}

const nodesSchema = z.object({
  items: z.array(z.object({ status: z.object({ allocatable: z.object({ cpu: z.string() }) }) })),
});

const DOOMED = 'wormhole.test/doomed';
const DOOMED_NODE = 'doomed';

/** A node that takes pods and starts none of them. */
const nodeWithoutKubelet = (name: string) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name, labels: { 'kubernetes.io/hostname': name } },
  // So that nobody else's pods get there.
  spec: { taints: [{ key: DOOMED, effect: 'NoSchedule' }] },
  status: {
    allocatable: { cpu: '1', memory: '1Gi', 'ephemeral-storage': '1Gi', pods: '10' },
    conditions: [{ type: 'Ready', status: 'True', reason: 'Pretended' }],
  },
});

async function expectJobs(admin: ApiClient, namespace: string, count: number): Promise<void> {
  const { items } = await listAll(admin, jobSchema, { path: jobPath(namespace) });
  expect(items).toHaveLength(count);
}

describeWith('the Kubernetes backend under faults', docker, (engine) => {
  describeWith('on a cluster of its own', ownCluster(), (own) => {
    const { facts } = own;
    const cleanup = [() => own.stop()];
    afterAll(async () => {
      for (const step of cleanup.reverse()) await step();
    });
    const imageOf = probeImages(engine, facts);
    const test = base.extend<Tools>({
      make: async ({ onTestFinished }, use) => {
        await use(async ({ script = UNTIL_TOLD, ...options } = {}) => {
          const made = await kubernetesBackend(facts, { image: await imageOf(script), ...options });
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
    const kubectl = async (args: readonly string[]): Promise<string> => {
      const [program = '', ...own] = facts.kubectl;
      return (await promisify(execFile)(program, [...own, ...args])).stdout;
    };
    const untilBack = (admin: ApiClient): Promise<unknown> =>
      until('the API server', BACK_MS, () => admin.send({ path: '/api/v1/namespaces/default' }));

    /** A run on a node that is gone. Kubernetes takes a minute to believe that: meanwhile there are other tests. */
    let doomed: { readonly spec: AttemptSpec; readonly observations: Observations };
    beforeAll(async () => {
      const made = await kubernetesBackend(facts, {
        image: 'wormhole-none:1',
        placement: {
          nodeSelector: { 'kubernetes.io/hostname': DOOMED_NODE },
          tolerations: [{ key: DOOMED, operator: 'Exists', effect: 'NoSchedule' }],
        },
      });
      const observations = new Observations(made.backend);
      cleanup.push(async () => {
        await observations.stop();
        await made.dispose();
      });
      const { backend, admin, namespace, pods } = made;
      await create(admin, nodeWithoutKubelet(DOOMED_NODE));
      const spec = anAttempt();
      await backend.start(spec);
      const [pod] = await until('the pod on its node', 30_000, async () => {
        const found = await pods();
        expect(found[0]?.spec.nodeName).toBe(DOOMED_NODE);
        return found;
      });
      // What its kubelet would say.
      const state = { running: { startedAt: new Date().toISOString() } };
      const status = { name: 'runner', image: '', imageID: '', ready: true, restartCount: 0, state };
      await kubectl([
        ...['patch', 'pod', pod?.metadata.name ?? '', `--namespace=${namespace}`, '--subresource=status'],
        `--patch=${JSON.stringify({ status: { phase: 'Running', containerStatuses: [status] } })}`,
      ]);
      await observations.of('started', spec);
      await admin.send({ method: 'DELETE', path: `/api/v1/nodes/${DOOMED_NODE}` });
      doomed = { spec, observations };
    });

    test(
      'nothing is lost when the API server is killed',
      { timeout: 120_000 },
      async ({ make, listenTo }) => {
        const { backend, another, admin, namespace, leftovers } = await make({ maxConcurrent: 20 });
        const { backend: brief } = await make({ script: BRIEF, maxConcurrent: 20 });
        const [observations, ends] = [listenTo(backend), listenTo(brief)];
        const [running, ending] = [
          [anAttempt(), anAttempt()],
          [anAttempt(), anAttempt()],
        ];
        await Promise.all([
          ...running.map((spec) => backend.start(spec)),
          ...ending.map((spec) => brief.start(spec)),
        ]);
        await Promise.all(running.map((spec) => observations.of('started', spec)));
        const starting = [anAttempt(), anAttempt(), anAttempt()];
        const [early, ...late] = starting.map((spec, index) => ({ spec, afterMs: index * 1000 }));
        const first = startPatiently(backend, early?.spec ?? anAttempt());
        killServer(facts, 'kube-apiserver');
        // A controller that takes over in just this moment must not take what it cannot see yet for lost.
        const heir = another();
        const inherited = listenTo(heir);
        const others = late.map(async ({ spec, afterMs }) => {
          await new Promise((resolve) => setTimeout(resolve, afterMs));
          return await startPatiently(backend, spec);
        });
        const listed = until('the list of the heir', BACK_MS, () => heir.list());
        await Promise.all([first, ...others]);
        await untilBack(admin);

        for (const spec of ending) {
          expect((await ends.of('ended', spec, BACK_MS)).exit).toMatchObject({ kind: 'exited', exitCode: 9 });
        }
        for (const spec of starting) await observations.of('started', spec, BACK_MS);
        const names = (await listed).map(({ runId }) => runId);
        expect(names).toEqual(expect.arrayContaining(running.map(({ runId }) => runId)));
        for (const spec of running) await inherited.of('started', spec, BACK_MS);
        const all = [...running, ...starting];
        for (const o of [observations, inherited]) {
          expect(o.all.filter(({ kind }) => kind === 'ended')).toEqual([]);
        }
        const { items } = await listAll(admin, jobSchema, { path: jobPath(namespace) });
        expect(items.map(({ metadata }) => metadata.name).sort()).toEqual(all.map(jobName).sort());
        for (const spec of all) {
          await backend.stop(spec, { graceMs: 5000 });
          expect((await observations.of('ended', spec)).exit).toMatchObject({ kind: 'exited', exitCode: 42 });
          await backend.remove(spec);
        }
        expect(await leftovers()).toEqual([]);
      },
    );

    test(
      'a watch from a version that the API server does not know any more begins anew',
      { timeout: 120_000 },
      async ({ make, listenTo, onTestFinished }) => {
        const { backend, admin, namespace, instance } = await make({ script: BRIEF });
        const observations = listenTo(backend);
        const sleepy = new SleepyClient(configOf(facts.kubeconfig));
        const phases: string[] = [];
        const warnings: string[] = [];
        const watch = new PodWatch({
          api: sleepy,
          namespace,
          labelSelector: selector(instance, 'run'),
          onChange: (change) => {
            const pods = change.kind === 'listed' ? change.pods : [change.pod];
            phases.push(`${change.kind}: ${pods.map(({ status }) => status.phase).join()}`);
          },
          log: pino({ level: 'warn' }, { write: (line) => void warnings.push(line) }),
        });
        onTestFinished(async () => {
          sleepy.wake();
          await watch.close();
          sleepy.close();
        });
        await sleepy.asleep.promise;
        const spec = anAttempt();
        await backend.start(spec);
        await observations.of('ended', spec);
        // It knows nothing of what was before it.
        killServer(facts, 'kube-apiserver');
        await untilBack(admin);
        sleepy.wake();
        await until('the watch', 10_000, () => {
          expect(phases.at(-1)).toMatch(/Failed$/);
          return Promise.resolve();
        });
        expect(phases.slice(0, 2)).toEqual(['listed: ', expect.stringMatching(/^listed: \w/)]);
        expect(sleepy.refusals).toEqual([410]);
        expect(warnings).toEqual([]);
      },
    );

    test('a run that makes room for a pod of more priority is PREEMPTED', async ({ make, listenTo }) => {
      const { backend, admin, namespace } = await make();
      const observations = listenTo(backend);
      const spec = anAttempt();
      await backend.start(spec);
      await observations.of('started', spec);
      const scheduling = 'scheduling.k8s.io/v1';
      const name = namespace;
      await create(admin, {
        ...{ apiVersion: scheduling, kind: 'PriorityClass', metadata: { name } },
        value: 1000,
      });
      const [node] = nodesSchema.parse(await admin.send({ path: '/api/v1/nodes' })).items;
      // All of the node but a little: there is no room for the run beside it.
      const cpu = `${Number(node?.status.allocatable.cpu) * 1000 - 50}m`;
      await create(admin, {
        ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'default' } },
        spec: {
          priorityClassName: name,
          terminationGracePeriodSeconds: 0,
          containers: [{ name: 'large', image: 'none.example/none:1', resources: { requests: { cpu } } }],
        },
      });
      try {
        const { exit } = await observations.of('ended', spec, 30_000);
        expect(exit).toMatchObject({ kind: 'exited', exitCode: 42, cause: { reason: 'PREEMPTED' } });
      } finally {
        const body = { gracePeriodSeconds: 0 };
        await admin.send({ method: 'DELETE', path: `${podsPath('default')}/${name}`, body });
        await admin.send({ method: 'DELETE', path: `/apis/${scheduling}/priorityclasses/${name}` });
      }
    });

    test('what has overstayed is swept away', async ({ make, listenTo, onTestFinished }) => {
      const real = performance.now.bind(performance);
      let aheadMs = 0;
      const clock = vi.spyOn(performance, 'now').mockImplementation(() => real() + aheadMs);
      onTestFinished(() => clock.mockRestore());
      const { backend, admin, namespace, leftovers } = await make();
      const observations = listenTo(backend);
      const spec = anAttempt();
      await backend.start(spec);
      await observations.of('started', spec);
      expect(await backend.list()).toHaveLength(1);
      // Longer than its deadline and ten minutes more: within 10 s it is swept, and its pod follows it.
      // Twice, as the backend may have looked around before the Job was there.
      aheadMs = 20 * MINUTE_MS;
      const later = setTimeout(() => (aheadMs += 20 * MINUTE_MS), 15_000);
      onTestFinished(() => clearTimeout(later));
      await until('the sweep', 45_000, () => expectJobs(admin, namespace, 0));
      expect((await observations.of('ended', spec)).exit).toMatchObject({ exitCode: 42 });
      expect(await leftovers()).toEqual([]);
    });

    test('a pod whose Job is gone is found, and removed', async ({ make, listenTo }) => {
      const { backend, another, admin, namespace, pods, leftovers } = await make();
      const observations = listenTo(backend);
      const spec = anAttempt();
      await backend.start(spec);
      await observations.of('started', spec);
      const path = jobPath(namespace, jobName(spec));
      await admin.send({ method: 'DELETE', path, body: { propagationPolicy: 'Orphan' } });
      await until('the pod to have no owner', 20_000, async () => {
        const [pod] = await pods();
        expect(pod?.metadata.ownerReferences).toEqual([]);
      });
      const heir = another();
      const { runId, attempt, tenantId } = spec;
      expect(await heir.list()).toMatchObject([{ runId, attempt, tenantId, state: 'running' }]);
      await heir.remove(spec);
      expect(await leftovers()).toEqual([]);
      await until('its end in the view', 20_000, async () => expect(await heir.list()).toEqual([]));
      expect(await backend.find(spec)).toMatchObject({ state: 'ended' });
    });

    test('a run that fills the disk is EVICTED', { timeout: 120_000 }, async ({ make, listenTo }) => {
      const { backend } = await make({ script: FLOOD });
      const observations = listenTo(backend);
      const spec = anAttempt();
      await backend.start(spec);
      const { exit } = await observations.of('ended', spec, EVICTED_MS);
      expect(exit.cause).toMatchObject({ reason: 'EVICTED' });
      expect(exit.cause?.message).toContain('ephemeral');
    });

    test('a run whose node is gone is NODE_LOST', { timeout: 150_000 }, async () => {
      const { exit } = await doomed.observations.of('ended', doomed.spec, NODE_GONE_MS);
      expect(exit).toMatchObject({ kind: 'lost', exitCode: null, cause: { reason: 'NODE_LOST' } });
    });
  });
});
