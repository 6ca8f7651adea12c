import { Construct } from 'constructs';
import { z } from 'zod';
import { k8s } from '../../imports/k8s.ts';
import { checked } from '../checked.ts';
import { COMPONENTS, componentLabels } from '../labels.ts';
import { instanceSchema } from '../names.ts';

export interface PriorityClassesProps {
  /** The platform instance: the classes belong to the whole cluster, so their names start with it. */
  readonly instance: string;
}

/** How urgent runs are, in comparison with other runs. */
export const RUN_PRIORITIES = ['high', 'normal', 'low'] as const;
export type RunPriority = (typeof RUN_PRIORITIES)[number];

const VALUES: Readonly<Record<RunPriority, number>> = { high: 3000, normal: 2000, low: 1000 };
const CONTROL_PLANE_VALUE = 1_000_000;

/** @returns the name of the class for runs of this priority. */
export const runPriorityClassName = (instance: string, priority: RunPriority): string =>
  `${instance}-run-${priority}`;

/** @returns the name of the control plane's class. */
export const controlPlanePriorityClassName = (instance: string): string => `${instance}-control-plane`;

/**
 * The order in which waiting pods get a node. Nothing preempts (`preemptionPolicy: Never`): a run whose payload is out
 * cannot be started again, so making room would end it for good. Neither does the control plane: a rollout starts a
 * pod before it ends another, and on a full cluster every change of the configuration would end a run. It waits first
 * in line instead, and the replicas that it replaces serve meanwhile. Were all replicas lost on a full cluster, no run
 * would be started either, and there is room as soon as one ends, at the latest at its deadline.
 * https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/
 */
export class PriorityClasses extends Construct {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: PriorityClassesProps) {
    super(scope, id);
    const { instance } = checked('PriorityClasses', z.strictObject({ instance: instanceSchema }), props);
    const labels = componentLabels(instance, COMPONENTS.platform);
    new k8s.KubePriorityClass(this, 'control-plane', {
      metadata: { name: controlPlanePriorityClassName(instance), labels },
      description: 'The control plane of Wormhole: first in line for a node; it preempts nothing.',
      value: CONTROL_PLANE_VALUE,
      preemptionPolicy: 'Never',
    });
    for (const priority of RUN_PRIORITIES) {
      new k8s.KubePriorityClass(this, `run-${priority}`, {
        metadata: { name: runPriorityClassName(instance, priority), labels },
        description: `Workflow runs of ${priority} priority; they preempt nothing.`,
        value: VALUES[priority],
        preemptionPolicy: 'Never',
      });
    }
  }
}
