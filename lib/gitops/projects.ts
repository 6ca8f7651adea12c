import { Construct } from 'constructs';
import { AppProject, type AppProjectSpecClusterResourceWhitelist } from '../../imports/argoproj.io.js';
import { checked } from '../checked.ts';
import {
  controlPlanePriorityClassName,
  RUN_PRIORITIES,
  runPriorityClassName,
} from '../constructs/priority-classes.ts';
import { ARGOCD_NAMESPACE } from '../names.ts';
import {
  gitOpsPropsSchema,
  type GitOpsProps,
  IN_CLUSTER,
  projectName,
  rootProjectName,
  tenantsProjectName,
} from './gitops-props.ts';

const NETWORK_POLICY = { group: 'networking.k8s.io', kind: 'NetworkPolicy' };
const SERVICE_ACCOUNT = { group: '', kind: 'ServiceAccount' };
const ROLE = { group: 'rbac.authorization.k8s.io', kind: 'Role' };
const ROLE_BINDING = { group: 'rbac.authorization.k8s.io', kind: 'RoleBinding' };

/** What a tenant's namespace holds. Not Jobs nor Pods: what a project does not list, Argo CD neither applies nor prunes. */
const TENANT_KINDS = [
  { group: '', kind: 'LimitRange' },
  { group: '', kind: 'ResourceQuota' },
  SERVICE_ACCOUNT,
  NETWORK_POLICY,
  ROLE,
  ROLE_BINDING,
];

/** What the platform's namespace holds. Not Secrets: they are never in Git. */
const PLATFORM_KINDS = [
  { group: '', kind: 'ConfigMap' },
  { group: '', kind: 'Service' },
  SERVICE_ACCOUNT,
  { group: 'apps', kind: 'Deployment' },
  { group: 'cilium.io', kind: 'CiliumNetworkPolicy' },
  NETWORK_POLICY,
  { group: 'policy', kind: 'PodDisruptionBudget' },
  ROLE,
  ROLE_BINDING,
];

/** The admission policies, without the instance that their names begin with. */
const POLICIES = ['run-pods', 'run-jobs', 'run-access'];

/**
 * Names, not a pattern: "wormhole-*" would be another instance's objects, too, and any role that somebody with access
 * to the repository cares to call so.
 */
const clusterObjects = (instance: string): AppProjectSpecClusterResourceWhitelist[] => [
  ...POLICIES.flatMap((policy) =>
    ['ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding'].map((kind) => ({
      group: 'admissionregistration.k8s.io',
      kind,
      name: `${instance}-${policy}`,
    })),
  ),
  ...['ClusterRole', 'ClusterRoleBinding'].map((kind) => ({
    group: 'rbac.authorization.k8s.io',
    kind,
    name: `${instance}-controller`,
  })),
  ...[
    controlPlanePriorityClassName(instance),
    ...RUN_PRIORITIES.map((priority) => runPriorityClassName(instance, priority)),
  ].map((name) => ({ group: 'scheduling.k8s.io', kind: 'PriorityClass', name })),
];

/**
 * What an environment's applications may do: nothing but the platform's own kinds, from its own repository, under its
 * own names; those of tenants only what a tenant has. The administrator of the cluster applies the projects; no
 * application may change them.
 * https://argo-cd.readthedocs.io/en/stable/user-guide/projects/
 */
export class PlatformProjects extends Construct {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: GitOpsProps) {
    super(scope, id);
    const { environment, instance, platformNamespace, tenantNamespacePrefix, repoUrl } = checked(
      'PlatformProjects',
      gitOpsPropsSchema,
      props,
    );
    const sourceRepos = [repoUrl];
    const tenantNamespaces = `${tenantNamespacePrefix}-*`;
    new AppProject(this, 'platform', {
      metadata: { name: projectName(environment), namespace: ARGOCD_NAMESPACE },
      spec: {
        description: `The platform of the environment ${environment}. Never a run of it, never a Secret.`,
        sourceRepos,
        destinations: [{ server: IN_CLUSTER, namespace: platformNamespace }],
        clusterResourceWhitelist: [
          { group: '', kind: 'Namespace', name: platformNamespace },
          ...clusterObjects(instance),
        ],
        namespaceResourceWhitelist: PLATFORM_KINDS,
      },
    });
    new AppProject(this, 'tenants', {
      metadata: { name: tenantsProjectName(environment), namespace: ARGOCD_NAMESPACE },
      spec: {
        description: `The tenants of the environment ${environment}. Never a run of one, never a Secret.`,
        sourceRepos,
        destinations: [{ server: IN_CLUSTER, namespace: tenantNamespaces }],
        clusterResourceWhitelist: [{ group: '', kind: 'Namespace', name: tenantNamespaces }],
        namespaceResourceWhitelist: TENANT_KINDS,
      },
    });
    new AppProject(this, 'root', {
      metadata: { name: rootProjectName(environment), namespace: ARGOCD_NAMESPACE },
      spec: {
        description: `The applications of the environment ${environment}, and nothing else.`,
        sourceRepos,
        destinations: [{ server: IN_CLUSTER, namespace: ARGOCD_NAMESPACE }],
        clusterResourceWhitelist: [],
        namespaceResourceWhitelist: [{ group: 'argoproj.io', kind: 'Application' }],
      },
    });
  }
}
