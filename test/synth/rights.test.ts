import { describe, expect, it } from 'vitest';
import { environmentApps, parseEnvironment } from '../../lib/index.ts';
import { DIGEST } from './run-job-manifest.ts';

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}
interface KubeObject {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly Rule[];
  readonly roleRef?: { readonly kind: string; readonly name: string };
  readonly subjects?: readonly { readonly kind: string; readonly name: string; readonly namespace: string }[];
}

const environment = parseEnvironment(
  'test.yaml',
  JSON.stringify({
    images: { runner: `runner@${DIGEST}`, controlPlane: `control-plane@${DIGEST}` },
    tenants: [{ id: 'acme' }, { id: 'globex' }],
  }),
);
const objects = environmentApps(environment, 'unused').flatMap((app) =>
  app.charts.flatMap((chart) => chart.toJson() as KubeObject[]),
);
const roles = objects.filter(({ kind }) => kind === 'Role' || kind === 'ClusterRole');
const bindings = objects.filter(({ kind }) => kind === 'RoleBinding' || kind === 'ClusterRoleBinding');

const rule = (apiGroup: string, resource: string, ...verbs: string[]): Rule => ({
  apiGroups: [apiGroup],
  resources: [resource],
  verbs,
});

describe('the rights of the platform', () => {
  it('are these and no others', () => {
    const inTenant = [
      rule('batch', 'jobs', 'create', 'get', 'list', 'watch', 'delete'),
      rule('', 'pods', 'get', 'list', 'watch', 'delete'),
      rule('', 'events', 'get', 'list'),
    ];
    expect(
      roles.map(({ kind, metadata, rules }) => [
        `${kind} ${metadata.namespace ?? '*'}/${metadata.name}`,
        rules,
      ]),
    ).toEqual([
      ['ClusterRole */wormhole-controller', [rule('', 'namespaces', 'get', 'list')]],
      ['Role wormhole-run-acme/wormhole-controller', inTenant],
      ['Role wormhole-run-globex/wormhole-controller', inTenant],
      [
        'Role wormhole-system/wormhole-controller',
        [
          {
            ...rule('', 'services', 'get'),
            resourceNames: ['wormhole-gateway', 'wormhole-egress-proxy'],
          },
        ],
      ],
    ]);
  });

  it('never include a wildcard, a secret, another’s rights or a way into a pod', () => {
    for (const { apiGroups, resources, verbs } of roles.flatMap(({ rules }) => rules!)) {
      expect([...apiGroups, ...resources, ...verbs]).not.toContain('*');
      for (const verb of ['escalate', 'bind', 'impersonate', 'patch', 'update', 'deletecollection']) {
        expect(verbs).not.toContain(verb);
      }
      for (const resource of ['secrets', 'serviceaccounts', 'serviceaccounts/token', 'configmaps', 'nodes']) {
        expect(resources).not.toContain(resource);
      }
      expect(resources.filter((resource) => resource.includes('/'))).toEqual([]);
    }
  });

  it('are the controller’s alone; gateway, egress proxy and runner have none', () => {
    expect(bindings).toHaveLength(roles.length);
    for (const { kind, metadata, roleRef, subjects } of bindings) {
      expect(subjects).toEqual([
        { kind: 'ServiceAccount', name: 'wormhole-controller', namespace: 'wormhole-system' },
      ]);
      expect(roleRef).toMatchObject({ kind: kind.replace('Binding', ''), name: metadata.name });
    }
    const accounts = objects
      .filter(({ kind }) => kind === 'ServiceAccount')
      .map(({ metadata }) => `${metadata.namespace!}/${metadata.name}`);
    expect(accounts).toEqual([
      'wormhole-run-acme/wormhole-runner',
      'wormhole-run-globex/wormhole-runner',
      'wormhole-system/wormhole-controller',
      'wormhole-system/wormhole-gateway',
      'wormhole-system/wormhole-egress-proxy',
    ]);
  });
});
