import { Chart } from 'cdk8s';
import type { Construct } from 'constructs';
import { RunAdmissionPolicy } from '../constructs/admission-policy.ts';
import { ControllerClusterRole } from '../constructs/controller-cluster-role.ts';
import { PlatformNamespace } from '../constructs/platform-namespace.ts';
import type { PlatformScope } from '../constructs/platform-scope.ts';
import { PriorityClasses } from '../constructs/priority-classes.ts';
import type { RunPlacement } from '../constructs/run-pod-props.ts';

export interface ClusterChartProps extends PlatformScope {
  /** The images that a run may have. */
  readonly runnerImages: string[];
  /**
   * Whether `runnerImages` may be `name:tag`.
   * @default false
   */
  readonly allowImageTag?: boolean;
  /**
   * Where every run is placed.
   * @default - any node, default runtime, no priority class
   */
  readonly placement?: RunPlacement;
  /**
   * Whether Kueue says when a run starts.
   * @default false
   */
  readonly kueue?: boolean;
}

/** What belongs to the whole cluster, and must be there before anything else. */
export class ClusterChart extends Chart {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: ClusterChartProps) {
    super(scope, id);
    const { instance, platformNamespace, runnerImages, ...runs } = props;
    new PlatformNamespace(this, 'namespace', { instance, platformNamespace });
    new PriorityClasses(this, 'priority-classes', { instance });
    new ControllerClusterRole(this, 'controller', { instance, platformNamespace });
    new RunAdmissionPolicy(this, 'admission-policy', { instance, images: runnerImages, ...runs });
  }
}
