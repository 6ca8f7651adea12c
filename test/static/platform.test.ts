import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { environmentApps, parseEnvironment } from '../../lib/index.ts';
import { apiServer, describeWith } from '../support/requires.ts';
import { ApiServer, type KubernetesObject } from './api-server.ts';

const suffix = randomBytes(3).toString('hex');
const instance = `static-${suffix}`;
const platformNamespace = `static-${suffix}-system`;
const tenantNamespacePrefix = `run-${suffix}`;

/** The dev environment under names of its own, so that it fits beside others in the cluster. */
const environment = {
  ...parseEnvironment('environments/dev.yaml', readFileSync('environments/dev.yaml', 'utf8')),
  instance,
  platformNamespace,
  tenantNamespacePrefix,
};
const objects = environmentApps(environment, '').flatMap((app) =>
  app.charts.flatMap((chart) => chart.toJson() as KubernetesObject[]),
);
const nameOf = ({ kind, metadata }: KubernetesObject): string =>
  [metadata.namespace, kind, metadata.name].filter(Boolean).join(' ');

interface Stored extends KubernetesObject {
  readonly metadata: KubernetesObject['metadata'] & { readonly generation?: number };
  readonly status?: object;
}

interface Rules {
  readonly status: {
    readonly resourceRules: readonly {
      readonly apiGroups: readonly string[];
      readonly resources: readonly string[];
      readonly verbs: readonly string[];
      readonly resourceNames?: readonly string[];
    }[];
  };
}

describeWith('The platform of environments/dev.yaml', apiServer, ({ kubeconfig }) => {
  const api = new ApiServer(kubeconfig);
  const applied = new Map<string, object>();
  const applyAll = async (): Promise<Map<string, object>> => {
    const versions = new Map<string, object>();
    for (const object of objects) {
      const stored = (await api.apply(object)) as Stored;
      // Without its status and resourceVersion: the controllers of the cluster write those whenever they like.
      const { labels, generation } = stored.metadata;
      versions.set(nameOf(object), { ...stored, metadata: { labels, generation }, status: undefined });
    }
    return versions;
  };

  beforeAll(async () => {
    for (const [name, version] of await applyAll()) applied.set(name, version);
  });
  afterAll(async () => {
    const clusterWide = objects.filter(({ metadata }) => metadata.namespace === undefined);
    for (const object of clusterWide) await api.remove(object);
  });

  it('is accepted by the API server, every object of it, and a second time changes none', async () => {
    expect(applied.size).toBe(objects.length);
    expect(await applyAll()).toEqual(applied);
  });

  /** What `kubectl auth can-i --list` says beyond what every service account may. */
  const rightsOf = async (namespace: string, account: string, inNamespace: string): Promise<string[]> => {
    const rulesOf = async (name: string): Promise<string[]> => {
      const as = {
        user: `system:serviceaccount:${namespace}:${name}`,
        groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
      };
      const review = {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectRulesReview',
        spec: { namespace: inNamespace },
      };
      const path = '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews';
      const { status } = await api.call<Rules>('POST', path, review, { as });
      return status.resourceRules.map(({ apiGroups, resources, resourceNames = [], verbs }) =>
        [[...apiGroups, ''].join('/') + resources.join(), ...resourceNames, verbs.toSorted().join()].join(
          ' ',
        ),
      );
    };
    const everybodys = await rulesOf('no-such-account');
    return (await rulesOf(account)).filter((rule) => !everybodys.includes(rule)).sort();
  };
  const tenantNamespace = `${tenantNamespacePrefix}-${environment.tenants[0]!.id}`;
  const EVERYWHERE = ['/namespaces get,list'];

  it('gives the controller what it needs in the namespaces of tenants, and little elsewhere', async () => {
    const rights = (inNamespace: string): Promise<string[]> =>
      rightsOf(platformNamespace, 'wormhole-controller', inNamespace);
    expect(await rights(tenantNamespace)).toEqual([
      '/events get,list',
      '/namespaces get,list',
      '/pods delete,get,list,watch',
      'batch/jobs create,delete,get,list,watch',
    ]);
    expect(await rights(platformNamespace)).toEqual([
      ...EVERYWHERE,
      '/services wormhole-gateway wormhole-egress-proxy get',
    ]);
    expect(await rights('kube-system')).toEqual(EVERYWHERE);
  });

  it.each(['wormhole-gateway', 'wormhole-egress-proxy'])('gives %s no right at all', async (account) => {
    for (const namespace of [tenantNamespace, platformNamespace, 'kube-system']) {
      expect(await rightsOf(platformNamespace, account, namespace)).toEqual([]);
    }
  });

  it('gives a run no right at all', async () => {
    for (const namespace of [tenantNamespace, platformNamespace, 'kube-system']) {
      expect(await rightsOf(tenantNamespace, 'wormhole-runner', namespace)).toEqual([]);
    }
  });
});
