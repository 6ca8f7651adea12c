import { App, Chart } from 'cdk8s';
import { PlatformApplications, RootApplication } from './applications.ts';
import type { Environment } from '../environment.ts';
import type { GitOpsProps } from './gitops-props.ts';
import { PlatformProjects } from './projects.ts';

/**
 * What Argo CD is told of an environment, in two files: `<environment>.k8s.yaml`, which the administrator of the
 * cluster applies once, and `<environment>-applications.k8s.yaml`, which Argo CD follows from then on.
 * @param name the environment's: its folder in dist/.
 * @param outdir the folder that `synth()` writes to.
 * @returns none for an environment without `gitops`.
 */
export const gitOpsApps = (name: string, environment: Environment, outdir: string): App[] => {
  const { gitops, instance, platformNamespace, tenantNamespacePrefix } = environment;
  if (gitops === undefined) return [];
  const props: GitOpsProps = {
    ...gitops,
    environment: name,
    instance,
    platformNamespace,
    tenantNamespacePrefix,
  };
  const rootApp = new App({ outdir });
  const applicationsApp = new App({ outdir });
  const applications = new Chart(applicationsApp, `${name}-applications`);
  const root = new Chart(rootApp, name);
  new PlatformProjects(root, 'projects', props);
  new RootApplication(root, 'application', props, `${applications.node.id}.k8s.yaml`);
  new PlatformApplications(applications, 'applications', props);
  return [rootApp, applicationsApp];
};
