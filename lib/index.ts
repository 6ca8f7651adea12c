/** The constructs of Wormhole Isolation, for other cdk8s apps. */
export { ClusterChart, type ClusterChartProps } from './charts/cluster.ts';
export { ControlPlaneChart, type ControlPlaneChartProps } from './charts/control-plane.ts';
export { TenantChart, type TenantChartProps } from './charts/tenant.ts';
export { RunAdmissionPolicy, type RunAdmissionPolicyProps } from './constructs/admission-policy.ts';
export { ControlPlaneConfig, type ControlPlaneConfigProps } from './constructs/control-plane-config.ts';
export type { ComponentSize, ControlPlaneComponentProps } from './constructs/control-plane-props.ts';
export { ControllerClusterRole } from './constructs/controller-cluster-role.ts';
export { ControllerPlatformRole } from './constructs/controller-platform-role.ts';
export { ControllerTenantRole, type ControllerTenantRoleProps } from './constructs/controller-tenant-role.ts';
export { Controller } from './constructs/controller.ts';
export {
  EgressProxyFqdnPolicy,
  type EgressProxyFqdnPolicyProps,
} from './constructs/egress-proxy-fqdn-policy.ts';
export { EgressProxy } from './constructs/egress-proxy.ts';
export { Gateway } from './constructs/gateway.ts';
export { PlatformNamespace } from './constructs/platform-namespace.ts';
export { MetricsNetworkPolicy } from './constructs/metrics-network-policy.ts';
export { PlatformNetworkPolicy } from './constructs/platform-network-policy.ts';
export type { PlatformScope } from './constructs/platform-scope.ts';
export {
  controlPlanePriorityClassName,
  PriorityClasses,
  type PriorityClassesProps,
  type RunPriority,
  runPriorityClassName,
} from './constructs/priority-classes.ts';
export { RunJob, runJobName, runJobSpecDigest } from './constructs/run-job.ts';
export type { RunJobProps } from './constructs/run-job-props.ts';
export type { RunGateway, RunPlacement, RunPodProps, RunToleration } from './constructs/run-pod-props.ts';
export { RunnerServiceAccount } from './constructs/runner-service-account.ts';
export { TenantNamespace, type TenantScope } from './constructs/tenant-namespace.ts';
export { TenantNetworkPolicy, type TenantNetworkPolicyProps } from './constructs/tenant-network-policy.ts';
export { TenantQuota, type TenantQuotaProps } from './constructs/tenant-quota.ts';
export { WarmPool, type WarmPoolProps } from './constructs/warm-pool.ts';
export type { EgressRule, InternalService } from './egress.ts';
export { type Environment, type EnvironmentTenant, parseEnvironment } from './environment.ts';
export { environmentApps } from './environment-apps.ts';
export { InvalidValueError, type Problem } from './errors.ts';
export { PlatformApplications, RootApplication } from './gitops/applications.ts';
export type { GitOps, GitOpsProps } from './gitops/gitops-props.ts';
export { PlatformProjects } from './gitops/projects.ts';
export { ANNOTATIONS, COMPONENTS, LABELS, MANAGED_BY, POOL_LABEL } from './labels.ts';
export { ACCOUNTS, EGRESS_PROXY, GATEWAY } from './platform-names.ts';
export type { RunSize } from './run-size.ts';
export { wormholeConfig } from './wormhole-config.ts';
