import { Construct } from 'constructs';
import { AppProject, type AppProjectSpecClusterResourceWhitelist } from '../../imports/argoproj.io.js';
import { checked } from '../checked.ts';
import {
  ARGOCD_NAMESPACE,
  gitOpsPropsSchema,
  type GitOpsProps,
  IN_CLUSTER,
  projectName,
  rootProjectName,
} from './gitops-props.ts';

/**
 * The kinds of the platform that are in namespaces. Jobs and Pods are not among them: runs are the controller's, and
 * what a project does not list, Argo CD neither applies nor prunes. Nor are Secrets: they are never in Git.
 */
const NAMESPACED_KINDS = [
  { group: '', kind: 'ConfigMap' },
  { group: '', kind: 'LimitRange' },
  { group: '', kind: 'ResourceQuota' },
  { group: '', kind: 'Service' },
  { group: '', kind: 'ServiceAccount' },
  { group: 'apps', kind: 'Deployment' },
  { group: 'cilium.io', kind: 'CiliumNetworkPolicy' },
  { group: 'networking.k8s.io', kind: 'NetworkPolicy' },
  { group: 'policy', kind: 'PodDisruptionBudget' },
  { group: 'rbac.authorization.k8s.io', kind: 'Role' },
  { group: 'rbac.authorization.k8s.io', kind: 'RoleBinding' },
];

const CLUSTER_KINDS = [
  { group: 'admissionregistration.k8s.io', kind: 'ValidatingAdmissionPolicy' },
  { group: 'admissionregistration.k8s.io', kind: 'ValidatingAdmissionPolicyBinding' },
  { group: 'rbac.authorization.k8s.io', kind: 'ClusterRole' },
  { group: 'rbac.authorization.k8s.io', kind: 'ClusterRoleBinding' },
  { group: 'scheduling.k8s.io', kind: 'PriorityClass' },
];

/**
 * What an environment's applications may do: nothing but the platform's own kinds, from its own repository, under its
 * own names. The administrator of the cluster applies it; no application may change it.
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
    const namespaces = [platformNamespace, `${tenantNamespacePrefix}-*`];
    const clusterResourceWhitelist: AppProjectSpecClusterResourceWhitelist[] = [
      ...namespaces.map((name) => ({ group: '', kind: 'Namespace', name })),
      ...CLUSTER_KINDS.map((kind) => ({ ...kind, name: `${instance}-*` })),
    ];
    new AppProject(this, 'platform', {
      metadata: { name: projectName(environment), namespace: ARGOCD_NAMESPACE },
      spec: {
        description: `The platform of the environment ${environment}. Never a run of it, never a Secret.`,
        sourceRepos: [repoUrl],
        destinations: namespaces.map((namespace) => ({ server: IN_CLUSTER, namespace })),
        clusterResourceWhitelist,
        namespaceResourceWhitelist: NAMESPACED_KINDS,
      },
    });
    new AppProject(this, 'root', {
      metadata: { name: rootProjectName(environment), namespace: ARGOCD_NAMESPACE },
      spec: {
        description: `The applications of the environment ${environment}, and nothing else.`,
        sourceRepos: [repoUrl],
        destinations: [{ server: IN_CLUSTER, namespace: ARGOCD_NAMESPACE }],
        clusterResourceWhitelist: [],
        namespaceResourceWhitelist: [{ group: 'argoproj.io', kind: 'Application' }],
      },
    });
  }
}
