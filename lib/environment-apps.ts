import { App, type Chart } from 'cdk8s';
import { ClusterChart } from './charts/cluster.ts';
import { ControlPlaneChart } from './charts/control-plane.ts';
import { TenantChart } from './charts/tenant.ts';
import type { Environment } from './environment.ts';
import { wormholeConfig } from './wormhole-config.ts';

/**
 * The charts of one environment: the cluster's, each tenant's and the control plane's, named so that their files are
 * applied in this order: a controller that comes up before the namespaces of tenants would fail the runs that wait.
 * Each is in an app of its own: cdk8s walks a whole app once per chart in it, which took 29 s for 1,000 tenants in one.
 * @param outdir the folder that `synth()` writes to, one file per chart.
 */
export const environmentApps = (environment: Environment, outdir: string): App[] => {
  const { instance, platformNamespace, tenantNamespacePrefix, tenants, images, allowImageTag } = environment;
  const platform = { instance, platformNamespace };
  const appWith = (add: (app: App) => Chart): App => {
    const app = new App({ outdir });
    add(app);
    return app;
  };
  const { internalServices } = environment;
  const rules = tenants.flatMap(({ egress }) => (egress.mode === 'allowlist' ? egress.allow : []));
  return [
    appWith(
      (app) =>
        new ClusterChart(app, 'cluster', {
          ...platform,
          runnerImages: [images.runner, ...images.otherRunners],
          allowImageTag,
          placement: environment.placement,
          kueue: environment.kueue !== undefined,
        }),
    ),
    ...tenants.map(({ id, maxConcurrent, limits: { cpus, memoryMb, tmpMb } }) =>
      appWith(
        (app) =>
          new TenantChart(app, `tenant-${id}`, {
            ...platform,
            tenantId: id,
            namespace: `${tenantNamespacePrefix}-${id}`,
            maxConcurrent,
            size: { cpus, memoryMb, tmpMb },
          }),
      ),
    ),
    appWith(
      (app) =>
        new ControlPlaneChart(app, 'workloads', {
          ...platform,
          image: images.controlPlane,
          allowImageTag,
          config: wormholeConfig(environment),
          ...environment.controlPlane,
          ...(environment.metricsNamespace !== undefined && {
            metricsNamespace: environment.metricsNamespace,
          }),
          ...(environment.cilium && { reachable: { rules, internalServices } }),
        }),
    ),
  ];
};
