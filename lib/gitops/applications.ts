import { Construct } from 'constructs';
import {
  Application,
  type ApplicationSpecSource,
  type ApplicationSpecSyncPolicy,
} from '../../imports/argoproj.io.js';
import { checked } from '../checked.ts';
import { ARGOCD_NAMESPACE } from '../names.ts';
import {
  type CheckedGitOpsProps,
  gitOpsPropsSchema,
  type GitOpsProps,
  IN_CLUSTER,
  projectName,
  rootProjectName,
  tenantsProjectName,
} from './gitops-props.ts';

/** Git decides: what is not there any more goes, what was changed by hand is changed back. */
const SYNC: ApplicationSpecSyncPolicy = {
  // Not allowEmpty: a folder that is gone by mistake must not take every tenant with it.
  automated: { prune: true, selfHeal: true, allowEmpty: false },
  syncOptions: [
    'ServerSideApply=true',
    'ApplyOutOfSyncOnly=true',
    'PruneLast=true',
    'FailOnSharedResource=true',
  ],
  retry: { limit: 10, backoff: { duration: '5s', factor: 2, maxDuration: '3m' } },
};

/**
 * The parts of a platform, in the order in which they come up: the wave of each waits for the one before. Tenants come
 * before the control plane, which on a cluster that is made anew has runs to start at once.
 */
const partsOf = ({ environment, platformNamespace, tenantNamespacePrefix }: CheckedGitOpsProps) => [
  {
    part: 'cluster',
    files: 'cluster.k8s.yaml',
    project: projectName(environment),
    namespace: platformNamespace,
  },
  {
    part: 'tenants',
    files: 'tenant-*.k8s.yaml',
    project: tenantsProjectName(environment),
    // Every object names its own; but the project must permit what stands here.
    namespace: `${tenantNamespacePrefix}-none`,
  },
  {
    part: 'control-plane',
    files: 'workloads.k8s.yaml',
    project: projectName(environment),
    namespace: platformNamespace,
  },
];

interface ApplicationProps {
  readonly name: string;
  readonly project: string;
  readonly namespace: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly source: ApplicationSpecSource;
}

/**
 * An application without a finalizer: to delete it is to stop following Git, not to delete the platform. It ignores no
 * differences, and needs not to: what changes at runtime, Jobs, pods and Secrets, is not in Git.
 */
const application = (scope: Construct, id: string, props: ApplicationProps): void => {
  const { name, project, namespace, annotations, source } = props;
  new Application(scope, id, {
    metadata: {
      name,
      namespace: ARGOCD_NAMESPACE,
      annotations: { 'argocd.argoproj.io/compare-options': 'ServerSideDiff=true', ...annotations },
    },
    spec: { project, destination: { server: IN_CLUSTER, namespace }, source, syncPolicy: SYNC },
  });
};

const folderOf = (gitOps: CheckedGitOpsProps, folder: string, include: string): ApplicationSpecSource => ({
  repoUrl: gitOps.repoUrl,
  targetRevision: gitOps.revision,
  path: `${gitOps.path}/${folder}`,
  directory: { include },
});

/** The application of applications: follows the file of `PlatformApplications`. */
export class RootApplication extends Construct {
  /**
   * @param file the name of that file in the folder argocd/.
   * @throws {InvalidValueError} with every property that is not allowed.
   */
  constructor(scope: Construct, id: string, props: GitOpsProps, file: string) {
    super(scope, id);
    const gitOps = checked('RootApplication', gitOpsPropsSchema, props);
    application(this, 'root', {
      name: rootProjectName(gitOps.environment),
      project: rootProjectName(gitOps.environment),
      namespace: ARGOCD_NAMESPACE,
      source: folderOf(gitOps, 'argocd', file),
    });
  }
}

/** One application for each part of an environment's platform, in waves. */
export class PlatformApplications extends Construct {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: GitOpsProps) {
    super(scope, id);
    const gitOps = checked('PlatformApplications', gitOpsPropsSchema, props);
    partsOf(gitOps).forEach(({ part, files, project, namespace }, wave) =>
      application(this, part, {
        name: `${projectName(gitOps.environment)}-${part}`,
        project,
        namespace,
        annotations: { 'argocd.argoproj.io/sync-wave': String(wave) },
        source: folderOf(gitOps, gitOps.environment, files),
      }),
    );
  }
}
