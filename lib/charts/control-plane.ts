import { Chart } from 'cdk8s';
import type { Construct } from 'constructs';
import { ControlPlaneConfig } from '../constructs/control-plane-config.ts';
import type { ComponentSize } from '../constructs/control-plane-props.ts';
import { Controller } from '../constructs/controller.ts';
import { EgressProxyFqdnPolicy } from '../constructs/egress-proxy-fqdn-policy.ts';
import { EgressProxy } from '../constructs/egress-proxy.ts';
import { Gateway } from '../constructs/gateway.ts';
import { MetricsNetworkPolicy } from '../constructs/metrics-network-policy.ts';
import { PlatformNetworkPolicy } from '../constructs/platform-network-policy.ts';
import type { PlatformScope } from '../constructs/platform-scope.ts';
import type { EgressRule, InternalService } from '../egress.ts';

export interface ControlPlaneChartProps extends PlatformScope {
  /** The control plane's image by digest. */
  readonly image: string;
  /**
   * Whether `image` may be `name:tag`, for clusters into which images are loaded by hand.
   * @default false
   */
  readonly allowImageTag?: boolean;
  /** The text of `wormhole.yaml`. */
  readonly config: string;
  /** @default - 2 replicas of 0.25 cores and 512 MiB */
  readonly controller?: ComponentSize;
  /** @default - 2 replicas of 0.25 cores and 512 MiB */
  readonly gateway?: ComponentSize;
  /** @default - 2 replicas of 0.25 cores and 512 MiB */
  readonly egressProxy?: ComponentSize;
  /**
   * The namespace that Prometheus runs in.
   * @default - nothing in the cluster may read metrics
   */
  readonly metricsNamespace?: string;
  /**
   * What the egress proxy itself is held to, in a cluster with Cilium.
   * @default - it reaches everything
   */
  readonly reachable?: {
    readonly rules: readonly EgressRule[];
    readonly internalServices: readonly InternalService[];
  };
}

/** The control plane: its configuration, controller, gateway and egress proxy. */
export class ControlPlaneChart extends Chart {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: ControlPlaneChartProps) {
    super(scope, id);
    const {
      instance,
      platformNamespace,
      image,
      allowImageTag = false,
      config,
      reachable,
      metricsNamespace,
    } = props;
    const { digests } = new ControlPlaneConfig(this, 'config', { instance, platformNamespace, config });
    const component = (configDigest: string, size: ComponentSize | undefined) => ({
      instance,
      platformNamespace,
      image,
      allowImageTag,
      configDigest,
      ...(size && { size }),
    });
    new PlatformNetworkPolicy(this, 'network-policy', { instance, platformNamespace });
    if (metricsNamespace !== undefined) {
      new MetricsNetworkPolicy(this, 'metrics', { instance, platformNamespace, metricsNamespace });
    }
    if (reachable)
      new EgressProxyFqdnPolicy(this, 'fqdn-policy', { instance, platformNamespace, ...reachable });
    new Controller(this, 'controller', component(digests.controller, props.controller));
    new Gateway(this, 'gateway', component(digests.gateway, props.gateway));
    new EgressProxy(this, 'egress-proxy', component(digests.egressProxy, props.egressProxy));
  }
}
