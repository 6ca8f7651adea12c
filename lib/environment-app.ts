import { App } from 'cdk8s';
import { TenantChart } from './charts/tenant.ts';
import type { Environment } from './environment.ts';

/**
 * @param outdir the folder that `synth()` writes to, one file per tenant.
 * @returns the cdk8s app of one environment.
 */
export const environmentApp = (environment: Environment, outdir: string): App => {
  const app = new App({ outdir });
  const { instance, platformNamespace, tenantNamespacePrefix, tenants } = environment;
  tenants.forEach(({ id, maxConcurrent, limits }) => {
    const namespace = `${tenantNamespacePrefix}-${id}`;
    new TenantChart(app, `tenant-${id}`, {
      tenantId: id,
      instance,
      namespace,
      platformNamespace,
      maxConcurrent,
      size: limits,
    });
  });
  return app;
};
