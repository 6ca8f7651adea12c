import { randomBytes, randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { App, JsonPatch } from 'cdk8s';
import fc from 'fast-check';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { k8s } from '../../imports/k8s.ts';
import { RunAdmissionPolicy, type RunAdmissionPolicyProps } from '../../lib/constructs/admission-policy.ts';
import { PriorityClasses, runPriorityClassName } from '../../lib/constructs/priority-classes.ts';
import { parseEnvironment, type RunJobProps, type RunPlacement, TenantChart } from '../../lib/index.ts';
import { tenantLabels } from '../../lib/labels.ts';
import { manifestsOf, REQUIRED_PROPS, runJobManifest } from '../synth/run-job-manifest.ts';
import { apiServer, describeWith } from '../support/requires.ts';
import { ApiServer, type KubernetesObject, refusalOf } from './api-server.ts';
import { withoutEachTerm } from './cel-terms.ts';
import { JOB_MUTATIONS, POD_MUTATIONS, type PodMutation } from './mutations.ts';
import { runJobs } from './run-job-arbitrary.ts';

/** The API server takes a new policy up within a second or so, and says nothing when it has. */
const EFFECTIVE_WITHIN_MS = 20_000;
const POLL_MS = 200;
const NOBODY = 'nobody enters a run';
const NO_EPHEMERAL = 'no ephemeral containers';
const STAYS = 'stays the run that it is';
const MASKED = "a run's /proc is masked";
/** Rules that no patch of a new pod breaks by itself. */
const TRIED_APART = [NOBODY, NO_EPHEMERAL, STAYS, MASKED];

const instance = `static-${randomBytes(4).toString('hex')}`;
/** A tenant's: Pod Security and our policy. */
const GUARDED = `${instance}-tenant`;
/** Our policy alone. */
const POLICY_ONLY = `${instance}-policy`;
/** Pod Security alone. */
const POD_SECURITY_ONLY = `${instance}-security`;

/** Where the runs of this file are declared to run. */
const PLACEMENT: RunPlacement = {
  nodeSelector: { 'wormhole.dev/nodes': 'runs' },
  tolerations: [{ key: 'wormhole.dev/runs', operator: 'Equal', value: 'yes', effect: 'NoSchedule' }],
  priorityClassName: runPriorityClassName(instance, 'normal'),
  runtimeClassName: instance,
};

type Job = KubernetesObject & { readonly spec: { readonly template: { readonly metadata: object } } };

const jobOf = (props: Partial<RunJobProps>): Job =>
  runJobManifest({ ...REQUIRED_PROPS, instance, placement: PLACEMENT, ...props }) as unknown as Job;
const jobIn = (namespace: string): Job => jobOf({ namespace });

const patched = (job: Job, patch: readonly JsonPatch[]): Job => {
  const template = JsonPatch.apply(structuredClone(job.spec.template), ...patch) as Job['spec']['template'];
  return { ...job, spec: { ...job.spec, template } };
};
/** @returns a run's Job with a patched pod template. */
const jobWith = (namespace: string, patch: readonly JsonPatch[]): Job => patched(jobIn(namespace), patch);

/** @returns the pod that the Job controller would make. */
const podOf = ({ metadata: { name, namespace }, spec }: Job): KubernetesObject => {
  const owner = { apiVersion: 'batch/v1', kind: 'Job', name, uid: randomUUID(), controller: true };
  const metadata = { ...spec.template.metadata, name: `${name}-abcde`, ownerReferences: [owner] };
  return {
    ...spec.template,
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { ...metadata, ...(namespace && { namespace }) },
  };
};
const podWith = (namespace: string, patch: readonly JsonPatch[]): KubernetesObject =>
  JsonPatch.apply(podOf(jobIn(namespace)), ...patch) as KubernetesObject;
const podIn = (namespace: string): KubernetesObject => podWith(namespace, []);

interface Policy extends KubernetesObject {
  readonly spec: {
    readonly validations: readonly { readonly expression: string; readonly message: string }[];
  };
}

const policyOf = (props: Partial<RunAdmissionPolicyProps>): KubernetesObject[] =>
  manifestsOf((chart) => {
    const images = [REQUIRED_PROPS.image];
    new RunAdmissionPolicy(chart, 'policy', { instance, images, placement: PLACEMENT, ...props });
  }) as unknown as KubernetesObject[];
const isPolicy = (object: KubernetesObject): object is Policy => object.kind === 'ValidatingAdmissionPolicy';

const MUTATIONS = [
  ...POD_MUTATIONS,
  {
    name: "the control plane's priority",
    patch: [JsonPatch.add('/spec/priorityClassName', `${instance}-control-plane`)],
    refusal: "a run's priority class is",
  },
] satisfies readonly PodMutation[] as readonly PodMutation[];

describeWith('A pod in the namespace of a tenant', apiServer, ({ kubeconfig }) => {
  const api = new ApiServer(kubeconfig);
  const policy = policyOf({});
  const classes = manifestsOf((chart) => {
    new PriorityClasses(chart, 'classes', { instance });
    new k8s.KubeRuntimeClass(chart, 'runtime', { metadata: { name: instance }, handler: 'runsc' });
  }) as unknown as KubernetesObject[];
  const tenant = new TenantChart(new App(), 'tenant', {
    tenantId: 'acme',
    instance,
    namespace: GUARDED,
    platformNamespace: 'wormhole-system',
    maxConcurrent: 4,
  }).toJson() as KubernetesObject[];
  const attempt = (object: KubernetesObject): Promise<string | null> =>
    refusalOf(api.create(object, { dryRun: true }));
  const effective = async (object: KubernetesObject): Promise<void> => {
    const until = Date.now() + EFFECTIVE_WITHIN_MS;
    while ((await attempt(object)) === null) {
      if (Date.now() > until) throw new Error(`the policy of "${instance}" does not come into effect`);
      await delay(POLL_MS);
    }
  };

  beforeAll(async () => {
    const namespace = (name: string, labels: Record<string, string>): KubernetesObject => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name, labels },
    });
    const serviceAccount = (name: string, inNamespace: string): KubernetesObject => ({
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name, namespace: inNamespace },
    });
    await api.apply(namespace(POLICY_ONLY, tenantLabels(instance, 'acme')));
    await api.apply(namespace(POD_SECURITY_ONLY, { 'pod-security.kubernetes.io/enforce': 'restricted' }));
    for (const object of [...classes, ...policy, ...tenant]) await api.apply(object);
    for (const name of [POLICY_ONLY, POD_SECURITY_ONLY, GUARDED]) {
      await api.apply(serviceAccount('wormhole-runner', name));
      await api.apply(serviceAccount('other', name));
    }
    const command = POD_MUTATIONS.find(({ name }) => name === 'a command')!;
    await effective(jobWith(POLICY_ONLY, command.patch));
    await effective(podWith(POLICY_ONLY, command.patch));
  }, 60_000);
  afterAll(async () => {
    const names = [GUARDED, POLICY_ONLY, POD_SECURITY_ONLY];
    const namespaces = names.map((name) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }));
    await Promise.all([...classes, ...policy, ...namespaces].map((object) => api.remove(object)));
  });

  it.each([GUARDED, POLICY_ONLY, POD_SECURITY_ONLY])('is accepted if it is a run: %s', async (namespace) => {
    expect(await attempt(jobIn(namespace))).toBeNull();
    expect(await attempt(podIn(namespace))).toBeNull();
  });

  it('is accepted if it is a run, however hostile or extreme its properties are', async () => {
    const jobs = fc.sample(runJobs({ instance, namespace: POLICY_ONLY, placement: PLACEMENT }), 100) as Job[];
    const refusals = await Promise.all(
      jobs.map(async (job) => (await attempt(job)) ?? (await attempt(podOf(job)))),
    );
    expect(refusals.filter((refusal) => refusal !== null)).toEqual([]);
  });

  it.each(MUTATIONS)('is refused with $name', async ({ patch, refusal, podSecurity, podOnly }) => {
    const byPolicy = (policy: string): string => `ValidatingAdmissionPolicy '${instance}-${policy}'`;
    const pod = await attempt(podWith(POLICY_ONLY, patch));
    expect(pod).toContain(byPolicy('run-pods'));
    expect(pod).toContain(refusal);

    if (!podOnly) {
      for (const namespace of [POLICY_ONLY, GUARDED]) {
        const job = await attempt(jobWith(namespace, patch));
        expect(job).toContain(byPolicy('run-jobs'));
        expect(job).toContain(refusal);
      }
    }

    const restricted = await attempt(podWith(POD_SECURITY_ONLY, patch));
    if (podSecurity === undefined) {
      expect(restricted).toBeNull();
    } else {
      expect(restricted).toContain('violates PodSecurity "restricted:latest"');
      expect(restricted).toContain(podSecurity);
    }
  });

  it.each(JOB_MUTATIONS)('is not made by a Job with $name', async ({ patch, refusal }) => {
    const job = JsonPatch.apply(jobIn(GUARDED), ...patch) as KubernetesObject;
    expect(await attempt(job)).toContain(refusal);
  });

  it('meets every rule of the policies in one of these tests', () => {
    const refusals = [...MUTATIONS, ...JOB_MUTATIONS].map(({ refusal }) => refusal);
    const rules = policy
      .filter(isPolicy)
      .flatMap(({ spec }) => spec.validations)
      .map(({ message }) => message)
      .filter((message) => !TRIED_APART.some((part) => message.includes(part)));
    const untried = rules.filter((message) => !refusals.some((refusal) => message.includes(refusal)));
    expect(rules.length).toBeGreaterThan(40);
    expect(untried).toEqual([]);
  });

  it('would be accepted in one of these tests if any term of any rule were missing', async () => {
    // Policies that only warn, of every rule as it is and of every rule with a term less, each under a number.
    const numbered = policy
      .filter(isPolicy)
      .map(({ spec: { validations } }) =>
        validations.map(({ expression }) => [expression, ...withoutEachTerm(expression)]),
      );
    const warning = policy.map((object) => {
      const name = object.metadata.name.replace(instance, `${instance}-terms`);
      const metadata = { ...object.metadata, name };
      if (!isPolicy(object))
        return { ...object, metadata, spec: { policyName: name, validationActions: ['Warn'] } };
      const validations = numbered[policy.filter(isPolicy).indexOf(object)]!.flatMap((variants, rule) =>
        variants.map((expression, variant) => ({ expression, message: `${rule}.${variant}` })),
      );
      return { ...object, metadata, spec: { ...object.spec, validations } };
    });
    for (const object of warning) await api.apply(object);
    try {
      /** @returns the numbers of what refuses it, by policy. */
      const refusing = async (object: KubernetesObject): Promise<Set<string>> => {
        const warnings = await api.warningsOf(object);
        return new Set(
          [...warnings.matchAll(/binding '[^']*-terms-([a-z-]+)': (\d+\.\d+)"/g)].map(
            (match) => `${match[1]} ${match[2]}`,
          ),
        );
      };
      const until = Date.now() + EFFECTIVE_WITHIN_MS;
      const command = POD_MUTATIONS.find(({ name }) => name === 'a command')!;
      for (const object of [jobWith(POLICY_ONLY, command.patch), podWith(POLICY_ONLY, command.patch)]) {
        while ((await refusing(object)).size === 0) {
          if (Date.now() > until) throw new Error('the policies of single terms do not come into effect');
          await delay(POLL_MS);
        }
      }

      const tried = await Promise.all(
        [
          ...MUTATIONS.map(({ patch }) => podWith(POLICY_ONLY, patch)),
          ...MUTATIONS.filter(({ podOnly }) => !podOnly).map(({ patch }) => jobWith(POLICY_ONLY, patch)),
          ...JOB_MUTATIONS.map(
            ({ patch }) => JsonPatch.apply(jobIn(POLICY_ONLY), ...patch) as KubernetesObject,
          ),
        ].map(refusing),
      );
      /** What is refused by one rule, and accepted without one of its terms. */
      const needed = new Set<string>();
      policy.filter(isPolicy).forEach(({ metadata }, index) => {
        const id = metadata.name.slice(instance.length + 1);
        numbered[index]!.forEach((variants, rule) => {
          for (const numbers of tried) {
            const rules = [...numbers].filter((number) => number.endsWith('.0'));
            if (rules.length !== 1 || rules[0] !== `${id} ${rule}.0`) continue;
            variants.forEach((expression, variant) => {
              if (!numbers.has(`${id} ${rule}.${variant}`)) needed.add(expression);
            });
          }
        });
      });
      const spare = numbered
        .flat()
        .flatMap(([, ...variants]) => variants)
        .filter((expression) => !needed.has(expression));
      expect(needed.size).toBeGreaterThan(60);
      expect(spare).toEqual([]);
    } finally {
      for (const object of warning) await api.remove(object);
    }
  }, 60_000);

  const eventually = async <T>(what: string, find: () => Promise<T | undefined>): Promise<T> => {
    const until = Date.now() + EFFECTIVE_WITHIN_MS;
    while (Date.now() < until) {
      const found = await find();
      if (found !== undefined) return found;
      await delay(POLL_MS);
    }
    throw new Error(`${what} within ${EFFECTIVE_WITHIN_MS} ms: it did not come to that`);
  };
  /** @returns the path of the pod that the Job controller makes for a Job. */
  const started = async (job: Job): Promise<string> => {
    const { name } = await api.create(job).then(({ metadata }) => metadata);
    const pods = `/api/v1/namespaces/${POLICY_ONLY}/pods`;
    return eventually(`a pod of "${name}"`, async () => {
      const query = `${pods}?labelSelector=batch.kubernetes.io/job-name=${name}`;
      const { items } = await api.call<{ items: KubernetesObject[] }>('GET', query);
      return items[0] && `${pods}/${items[0].metadata.name}`;
    });
  };
  /** Deletes a Job, and returns when its pod is gone too. */
  const ended = async (job: Job, path: string): Promise<void> => {
    await api.remove(job);
    await eventually(`no ${path}`, async () => {
      const refusal = await refusalOf(api.call('GET', path));
      return refusal?.includes('not found') ? refusal : undefined;
    });
  };

  it('cannot be entered, relabelled or given another container, and can be let go of', async () => {
    const job = jobOf({ namespace: POLICY_ONLY, runId: randomUUID() });
    const path = await started(job);
    expect(await refusalOf(api.call('POST', `${path}/exec?command=id&stdout=true`))).toContain(NOBODY);
    expect(await refusalOf(api.call('POST', `${path}/attach?stdout=true`))).toContain(NOBODY);
    expect(await refusalOf(api.call('POST', `${path}/portforward?ports=80`))).toContain(NOBODY);
    expect(await refusalOf(api.call('GET', `${path}/proxy/`))).toContain(NOBODY);

    const merge = 'application/strategic-merge-patch+json';
    const debug = { spec: { ephemeralContainers: [{ name: 'debug', image: 'busybox' }] } };
    expect(await refusalOf(api.call('PATCH', `${path}/ephemeralcontainers`, debug, {}, merge))).toContain(
      NO_EPHEMERAL,
    );
    const relabelled = { metadata: { labels: { 'wormhole.dev/tenant-id': 'other' } } };
    expect(await refusalOf(api.call('PATCH', path, relabelled, {}, merge))).toContain('tenant-id label');
    const otherRun = { metadata: { labels: { 'wormhole.dev/run-id': randomUUID() } } };
    const unlabelled = { metadata: { labels: { 'app.kubernetes.io/component': null } } };
    for (const at of [path, `${path}/status`]) {
      expect(await refusalOf(api.call('PATCH', at, otherRun, {}, merge))).toContain(STAYS);
      expect(await refusalOf(api.call('PATCH', at, unlabelled, {}, merge))).toContain('is labelled as one');
    }
    const image = { spec: { containers: [{ name: 'runner', image: 'busybox:1' }] } };
    expect(await refusalOf(api.call('PATCH', path, image, {}, merge))).toContain("a run's image");

    // What networks and the kubelet write; the Job controller's finalizer goes in the end.
    await api.call(
      'PATCH',
      path,
      { metadata: { annotations: { 'cni.example.com/ip': '10.1.2.3' } } },
      {},
      merge,
    );
    await api.call('PATCH', `${path}/status`, { status: { phase: 'Failed' } }, {}, merge);
    await ended(job, path);
  });

  it('that was admitted can end when the images of the platform have changed since', async () => {
    const job = jobOf({ namespace: POLICY_ONLY, runId: randomUUID() });
    const path = await started(job);
    for (const object of policyOf({ images: [REQUIRED_PROPS.image.replace(/.$/, '0')] }))
      await api.apply(object);
    await effective(jobIn(POLICY_ONLY));
    await ended(job, path);
    for (const object of policy) await api.apply(object);
  });

  describe.each(readdirSync('environments'))('where environments/%s says', (file) => {
    const environment = parseEnvironment(file, readFileSync(`environments/${file}`, 'utf8'));
    const own = `${instance}-${file.replace('.yaml', '')}`;
    const { runtimeClassName } = environment.placement;
    // Classes belong to the whole cluster: those of this file stand for the environment's.
    const placement: RunPlacement = {
      ...environment.placement,
      priorityClassName: runPriorityClassName(instance, 'normal'),
      ...(runtimeClassName && { runtimeClassName: instance }),
    };
    const kueue = environment.kueue !== undefined;
    const { queueName } = environment.kueue ?? {};
    const job = jobOf({ instance: own, namespace: own, placement, ...(queueName && { queueName }) });
    const objects = [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: own, labels: tenantLabels(own, 'acme') } },
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'wormhole-runner', namespace: own } },
      ...policyOf({ instance: own, placement, kueue }),
    ];
    /** @returns what is said of the Job and of its pod. */
    const both = (...patch: JsonPatch[]): Promise<(string | null)[]> => {
      const changed = patched(job, patch);
      return Promise.all([attempt(changed), attempt(podOf(changed))]);
    };

    beforeAll(async () => {
      for (const object of objects) await api.apply(object);
      const { patch } = POD_MUTATIONS.find(({ name }) => name === 'a command')!;
      await effective(patched(job, patch));
      await effective(podOf(patched(job, patch)));
    });
    afterAll(() => Promise.all(objects.map((object) => api.remove(object))));

    it('is accepted, with what Kueue adds where there is Kueue', async () => {
      expect(await both()).toEqual([null, null]);
      const byKueue = await both(
        JsonPatch.add('/spec/nodeSelector', { ...placement.nodeSelector, 'example.com/flavor': 'spot' }),
        JsonPatch.add('/spec/schedulingGates', [{ name: 'kueue.x-k8s.io/topology' }]),
        JsonPatch.add('/metadata/annotations/kueue.x-k8s.io~1workload', 'run'),
      );
      expect(byKueue).toEqual(kueue ? [null, null] : [expect.any(String), expect.any(String)]);
    });

    it('keeps its own sandbox', async () => {
      const { runtimeClassName: declared, hostUsers } = placement;
      const others = [
        declared
          ? JsonPatch.remove('/spec/runtimeClassName')
          : JsonPatch.add('/spec/runtimeClassName', instance),
        hostUsers === false ? JsonPatch.remove('/spec/hostUsers') : JsonPatch.add('/spec/hostUsers', false),
      ];
      for (const other of others) {
        for (const refusal of await both(other))
          expect(refusal).toContain("a run's sandbox is the platform's");
      }
      const unmasked = await both(
        JsonPatch.add('/spec/hostUsers', false),
        JsonPatch.add('/spec/containers/0/securityContext/procMount', 'Unmasked'),
      );
      for (const refusal of unmasked) expect(refusal).toContain(MASKED);
    });
  });
});
