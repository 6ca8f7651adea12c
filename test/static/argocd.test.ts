import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join, matchesGlob } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { argocdCrds } from '../../scripts/argocd-crds.ts';
import { ensurePythonEnv } from '../../scripts/python-env.mjs';
import { apiServer, describeWith, type Requirement } from '../support/requires.ts';
import { ApiServer, type KubernetesObject, refusalOf } from './api-server.ts';

const SERVED_WITHIN_MS = 20_000;
const POLL_MS = 200;
const ENVIRONMENTS = readdirSync('environments').map((file) => basename(file, '.yaml'));

const read = (...path: string[]): KubernetesObject[] =>
  parseAllDocuments(readFileSync(join('dist', ...path), 'utf8')).map(
    (document) => document.toJS() as KubernetesObject,
  );

interface Kind {
  readonly group: string;
  readonly kind: string;
  readonly name?: string;
}
type Project = KubernetesObject & {
  readonly spec: {
    readonly sourceRepos: readonly string[];
    readonly destinations: readonly { readonly namespace: string }[];
    readonly clusterResourceWhitelist: readonly Kind[];
    readonly namespaceResourceWhitelist: readonly Kind[];
  };
};
type Application = KubernetesObject & {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
  readonly spec: {
    readonly project: string;
    readonly destination: { readonly namespace: string };
    readonly source: {
      readonly repoURL: string;
      readonly path: string;
      readonly directory: { readonly include: string };
    };
  };
};

const argocdOf = (environment: string) => {
  const objects = [
    ...read('argocd', `${environment}.k8s.yaml`),
    ...read('argocd', `${environment}-applications.k8s.yaml`),
  ];
  const projects = objects.filter(({ kind }) => kind === 'AppProject') as Project[];
  const applications = objects.filter(({ kind }) => kind === 'Application') as Application[];
  return { objects, projects, applications };
};

const permits = (project: Project, { apiVersion, kind, metadata }: KubernetesObject): boolean => {
  const group = apiVersion.includes('/') ? apiVersion.split('/')[0]! : '';
  const { namespace } = metadata;
  const kinds =
    namespace === undefined ? project.spec.clusterResourceWhitelist : project.spec.namespaceResourceWhitelist;
  const listed = kinds.some(
    (item) => item.group === group && item.kind === kind && matchesGlob(metadata.name, item.name ?? '*'),
  );
  const there = project.spec.destinations.some((item) => matchesGlob(namespace ?? '', item.namespace));
  return listed && (namespace === undefined || there);
};

describe.each(ENVIRONMENTS)('Argo CD in %s', (environment) => {
  const { projects, applications } = argocdOf(environment);
  const [platform, tenants, root] = projects as [Project, Project, Project];

  it('follows every file of dist/ in one application each, in its project', () => {
    const followed = applications.flatMap(({ spec: { source, project } }) => {
      const folder = source.path.replace(/^dist\//, '');
      const files = readdirSync(join('dist', folder)).filter((f) => matchesGlob(f, source.directory.include));
      expect(files).not.toEqual([]);
      const owner = projects.find(({ metadata }) => metadata.name === project)!;
      expect(owner.spec.sourceRepos).toEqual([source.repoURL]);
      for (const file of files) {
        const refused = read(folder, file).filter((object) => !permits(owner, object));
        expect(refused.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual([]);
      }
      return files.map((file) => join(folder, file));
    });
    const all = readdirSync(join('dist', environment)).map((file) => join(environment, file));
    expect(followed.sort()).toEqual([...all, `argocd/${environment}-applications.k8s.yaml`].sort());
  });

  it('brings up the cluster, then the tenants, then what starts runs in their namespaces', () => {
    const waves = applications
      .flatMap(({ metadata }) => {
        const wave = metadata.annotations?.['argocd.argoproj.io/sync-wave'];
        return wave === undefined ? [] : [`${wave} ${metadata.name}`];
      })
      .sort();
    const name = `wormhole-${environment}`;
    expect(waves).toEqual([`0 ${name}-cluster`, `1 ${name}-tenants`, `2 ${name}-control-plane`]);
  });

  it('names a namespace for each application that its project permits', () => {
    for (const { spec } of applications) {
      const { spec: project } = projects.find(({ metadata }) => metadata.name === spec.project)!;
      const permitted = project.destinations.some((item) =>
        matchesGlob(spec.destination.namespace, item.namespace),
      );
      expect(permitted).toBe(true);
    }
  });

  it('may touch no run, no pod, no Secret and nothing outside the platform', () => {
    const namespace = read(environment, 'workloads.k8s.yaml')[0]!.metadata.namespace!;
    const named = { metadata: { name: 'x', namespace } };
    const tenantNamespace = tenants.spec.destinations[0]!.namespace.replace('*', 'acme');
    for (const [apiVersion, kind] of [
      ['batch/v1', 'Job'],
      ['batch/v1', 'CronJob'],
      ['v1', 'Pod'],
      ['v1', 'Secret'],
      ['apps/v1', 'ReplicaSet'],
      ['apps/v1', 'DaemonSet'],
      ['argoproj.io/v1alpha1', 'Application'],
      ['argoproj.io/v1alpha1', 'AppProject'],
    ] as const) {
      const inTenant = { metadata: { name: 'x', namespace: tenantNamespace } };
      expect(permits(platform, { apiVersion, kind, ...named })).toBe(false);
      expect(permits(tenants, { apiVersion, kind, ...inTenant })).toBe(false);
    }
    const deployment = { apiVersion: 'apps/v1', kind: 'Deployment' };
    expect(permits(platform, { ...deployment, ...named })).toBe(true);
    for (const other of ['kube-system', 'default', 'argocd', tenantNamespace]) {
      expect(permits(platform, { ...deployment, metadata: { name: 'x', namespace: other } })).toBe(false);
      expect(permits(tenants, { ...deployment, metadata: { name: 'x', namespace: other } })).toBe(false);
    }
    expect(permits(tenants, { ...deployment, ...named })).toBe(false);
    const instance = read(environment, 'workloads.k8s.yaml')[0]!.metadata.labels![
      'app.kubernetes.io/instance'
    ]!;
    for (const name of ['cluster-admin', `${instance}-admin`, `${instance}-eu-controller`]) {
      const role = { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', metadata: { name } };
      expect(permits(platform, role)).toBe(false);
    }
    expect(tenants.spec.clusterResourceWhitelist).toEqual([
      { group: '', kind: 'Namespace', name: tenantNamespace.replace('acme', '*') },
    ]);
    expect(
      permits(platform, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'kube-system' } }),
    ).toBe(false);
    expect(root.spec.namespaceResourceWhitelist).toEqual([{ group: 'argoproj.io', kind: 'Application' }]);
    expect(root.spec.clusterResourceWhitelist).toEqual([]);
  });
});

/** Argo CD's CustomResourceDefinitions, and an API server to hold objects to them. */
const argocd: Requirement<{ readonly kubeconfig: string; readonly crds: KubernetesObject[] }> = async () => {
  const found = await apiServer();
  if ('missing' in found) return found;
  try {
    await promisify(execFile)('go', ['version']);
  } catch {
    return { missing: "install Go (go.dev/dl), which downloads Argo CD's resource definitions" };
  }
  const { python } = await ensurePythonEnv((line) => console.log(line));
  const crds = (await argocdCrds(python)).map((text) => parse(text) as KubernetesObject);
  return { value: { kubeconfig: found.value.kubeconfig, crds } };
};

describeWith('Argo CD itself', argocd, ({ kubeconfig, crds }) => {
  const api = new ApiServer(kubeconfig);
  const namespace = `static-${randomBytes(4).toString('hex')}`;
  const installed: KubernetesObject[] = [];
  const attempt = (object: KubernetesObject): Promise<string | null> =>
    refusalOf(api.create({ ...object, metadata: { ...object.metadata, namespace } }, { dryRun: true }));

  beforeAll(async () => {
    await api.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
    for (const crd of crds) {
      // A cluster of one's own may have Argo CD already.
      const refusal = await refusalOf(api.create(crd));
      if (refusal === null) installed.push(crd);
      else expect(refusal).toContain('already exists');
    }
    const until = Date.now() + SERVED_WITHIN_MS;
    const version = '/apis/argoproj.io/v1alpha1';
    // The list of kinds, which is asked for what a kind's path is, comes later than the kinds.
    for (const path of [
      `${version}/namespaces/${namespace}/applications`,
      `${version}/namespaces/${namespace}/appprojects`,
      version,
    ]) {
      while ((await refusalOf(api.call('GET', path))) !== null) {
        if (Date.now() > until) throw new Error(`the API server does not serve ${path}`);
        await delay(POLL_MS);
      }
    }
  });
  afterAll(async () => {
    await api.remove({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
    for (const crd of installed) await api.remove(crd);
  });

  it.each(ENVIRONMENTS)('knows every field of the objects of %s', async (environment) => {
    for (const object of argocdOf(environment).objects) expect(await attempt(object)).toBeNull();
  });

  it('does not know a field that is misspelt', async () => {
    const [application] = argocdOf(ENVIRONMENTS[0]!).applications;
    const misspelt = { ...application!, spec: { ...application!.spec, syncPolicies: {} } };
    expect(await attempt(misspelt)).toContain('unknown field "spec.syncPolicies"');
  });
});
