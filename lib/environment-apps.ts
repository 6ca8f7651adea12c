import { App } from 'cdk8s';
import { TenantChart } from './charts/tenant.ts';
import type { Environment } from './environment.ts';

/**
 * The charts of one environment, each in an app of its own: cdk8s walks a whole app once per chart in it, which took
 * 29 s for 1,000 tenants in one.
 * @param outdir the folder that `synth()` writes to, one file per tenant.
 */
export const environmentApps = (environment: Environment, outdir: string): App[] => {
  const { instance, platformNamespace, tenantNamespacePrefix, tenants } = environment;
  return tenants.map(({ id, maxConcurrent, limits }) => {
    const app = new App({ outdir });
    new TenantChart(app, `tenant-${id}`, {
      tenantId: id,
      instance,
      namespace: `${tenantNamespacePrefix}-${id}`,
      platformNamespace,
      maxConcurrent,
      size: limits,
    });
    return app;
  });
};
