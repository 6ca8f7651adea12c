/** The constructs of Wormhole Isolation, for other cdk8s apps. */
export { TenantChart, type TenantChartProps } from './charts/tenant.ts';
export { RunJob, runJobName } from './constructs/run-job.ts';
export type { RunGateway, RunJobProps, RunPlacement, RunToleration } from './constructs/run-job-props.ts';
export { RunnerServiceAccount } from './constructs/runner-service-account.ts';
export { TenantNamespace, type TenantScope } from './constructs/tenant-namespace.ts';
export { TenantNetworkPolicy, type TenantNetworkPolicyProps } from './constructs/tenant-network-policy.ts';
export { TenantQuota, type TenantQuotaProps } from './constructs/tenant-quota.ts';
export { type Environment, type EnvironmentTenant, parseEnvironment } from './environment.ts';
export { environmentApps } from './environment-apps.ts';
export { InvalidValueError, type Problem } from './errors.ts';
export { COMPONENTS, LABELS, MANAGED_BY } from './labels.ts';
export type { RunSize } from './run-size.ts';
