import { randomBytes } from 'node:crypto';
import { App, JsonPatch } from 'cdk8s';
import fc from 'fast-check';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { RunAdmissionPolicy } from '../../lib/constructs/admission-policy.ts';
import { TenantChart } from '../../lib/index.ts';
import { tenantLabels } from '../../lib/labels.ts';
import { manifestsOf, REQUIRED_PROPS, runJobManifest } from '../synth/run-job-manifest.ts';
import { apiServer, describeWith } from '../support/requires.ts';
import { ApiServer, type KubernetesObject, refusalOf } from './api-server.ts';
import { JOB_MUTATIONS, POD_MUTATIONS } from './mutations.ts';
import { runJobs } from './run-job-arbitrary.ts';

/** The API server takes a new policy up within a second or so, and says nothing when it has. */
const EFFECTIVE_WITHIN_MS = 20_000;
const POLL_MS = 200;
const NOBODY = 'nobody enters a run';

const instance = `static-${randomBytes(4).toString('hex')}`;
/** A tenant's: Pod Security and our policy. */
const GUARDED = `${instance}-tenant`;
/** Our policy alone. */
const POLICY_ONLY = `${instance}-policy`;
/** Pod Security alone. */
const POD_SECURITY_ONLY = `${instance}-security`;

type Job = KubernetesObject & { readonly spec: { readonly template: { readonly metadata: object } } };

const jobIn = (namespace: string): Job =>
  runJobManifest({ ...REQUIRED_PROPS, instance, namespace }) as unknown as Job;

/** @returns a run's Job with a patched pod template. */
const jobWith = (namespace: string, patch: readonly JsonPatch[]): Job => {
  const job = jobIn(namespace);
  const template = JsonPatch.apply(job.spec.template, ...patch) as Job['spec']['template'];
  return { ...job, spec: { ...job.spec, template } };
};

/** @returns the pod that the Job controller would make. */
const podOf = ({ metadata: { name, namespace }, spec }: Job): KubernetesObject => ({
  ...spec.template,
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { ...spec.template.metadata, name: `${name}-abcde`, ...(namespace && { namespace }) },
});
const podWith = (namespace: string, patch: readonly JsonPatch[]): KubernetesObject =>
  podOf(jobWith(namespace, patch));
const podIn = (namespace: string): KubernetesObject => podWith(namespace, []);

const policyOf = (images: string[]): KubernetesObject[] =>
  manifestsOf((chart) => {
    new RunAdmissionPolicy(chart, 'policy', { instance, images });
  }) as unknown as KubernetesObject[];

describeWith('A pod in the namespace of a tenant', apiServer, ({ kubeconfig }) => {
  const api = new ApiServer(kubeconfig);
  const policy = policyOf([REQUIRED_PROPS.image]);
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
    for (const object of [...policy, ...tenant]) await api.apply(object);
    for (const name of [POLICY_ONLY, POD_SECURITY_ONLY, GUARDED]) {
      await api.apply(serviceAccount('wormhole-runner', name));
      await api.apply(serviceAccount('other', name));
    }
    const command = POD_MUTATIONS.find(({ name }) => name === 'a command')!;
    await effective(jobWith(POLICY_ONLY, command.patch));
    await effective(podWith(POLICY_ONLY, command.patch));
  });
  afterAll(async () => {
    const names = [GUARDED, POLICY_ONLY, POD_SECURITY_ONLY];
    const namespaces = names.map((name) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }));
    await Promise.all([...policy, ...namespaces].map((object) => api.remove(object)));
  });

  it.each([GUARDED, POLICY_ONLY, POD_SECURITY_ONLY])('is accepted if it is a run: %s', async (namespace) => {
    expect(await attempt(jobIn(namespace))).toBeNull();
    expect(await attempt(podIn(namespace))).toBeNull();
  });

  it('is accepted if it is a run, however hostile or extreme its properties are', async () => {
    const jobs = fc.sample(runJobs({ instance, namespace: POLICY_ONLY }), 200) as Job[];
    const refusals = await Promise.all(
      jobs.map(async (job) => (await attempt(job)) ?? (await attempt(podOf(job)))),
    );
    expect(refusals.filter((refusal) => refusal !== null)).toEqual([]);
  });

  it.each(POD_MUTATIONS)('is refused with $name', async ({ patch, refusal, podSecurity, podOnly }) => {
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
    const refusals = [...POD_MUTATIONS, ...JOB_MUTATIONS].map(({ refusal }) => refusal);
    const rules = (policy as (KubernetesObject & { spec: { validations?: { message: string }[] } })[])
      .flatMap(({ spec }) => spec.validations ?? [])
      .map(({ message }) => message)
      .filter((message) => !message.includes(NOBODY));
    const untried = rules.filter((message) => !refusals.some((refusal) => message.includes(refusal)));
    expect(rules.length).toBeGreaterThan(40);
    expect(untried).toEqual([]);
  });

  it('cannot be entered or given another container, and can be let go of', async () => {
    const pod = await api.create(podIn(POLICY_ONLY));
    const path = `/api/v1/namespaces/${POLICY_ONLY}/pods/${pod.metadata.name}`;
    expect(await refusalOf(api.call('POST', `${path}/exec?command=id&stdout=true`))).toContain(NOBODY);
    expect(await refusalOf(api.call('POST', `${path}/attach?stdout=true`))).toContain(NOBODY);
    expect(await refusalOf(api.call('POST', `${path}/portforward?ports=80`))).toContain(NOBODY);
    expect(await refusalOf(api.call('GET', `${path}/proxy/`))).toContain(NOBODY);

    const merge = 'application/strategic-merge-patch+json';
    const debug = { spec: { ephemeralContainers: [{ name: 'debug', image: 'busybox' }] } };
    expect(await refusalOf(api.call('PATCH', `${path}/ephemeralcontainers`, debug, {}, merge))).toContain(
      'no ephemeral containers',
    );
    const relabelled = { metadata: { labels: { 'wormhole.dev/tenant-id': 'other' } } };
    expect(await refusalOf(api.call('PATCH', path, relabelled, {}, merge))).toContain('tenant-id label');
    const image = { spec: { containers: [{ name: 'runner', image: 'busybox:1' }] } };
    expect(await refusalOf(api.call('PATCH', path, image, {}, merge))).toContain("a run's image");

    // What the Job controller and the kubelet write.
    await api.call('PATCH', path, { metadata: { finalizers: ['wormhole.dev/test'] } }, {}, merge);
    await api.call('PATCH', path, { metadata: { finalizers: null } }, {}, merge);
    await api.call('PATCH', `${path}/status`, { status: { phase: 'Failed' } }, {}, merge);
    await api.remove(pod);
  });

  it('that was admitted can end when the images of the platform have changed since', async () => {
    const pod = podWith(POLICY_ONLY, [JsonPatch.add('/metadata/finalizers', ['wormhole.dev/test'])]);
    await api.create(pod);
    const changed = policyOf([REQUIRED_PROPS.image.replace(/.$/, '0')]);
    for (const object of changed) await api.apply(object);
    await effective(jobIn(POLICY_ONLY));
    const path = `/api/v1/namespaces/${POLICY_ONLY}/pods/${pod.metadata.name}`;
    const merge = 'application/merge-patch+json';
    await api.call('PATCH', path, { metadata: { finalizers: null } }, {}, merge);
    await api.remove(pod);
    for (const object of policy) await api.apply(object);
  });
});
