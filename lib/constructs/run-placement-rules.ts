import { all, empty, literal, type Rule } from '../cel.ts';
import type { RunPlacement } from './run-pod-props.ts';

/** Kubernetes gives every pod these two. */
const GIVEN_TOLERATIONS = ['not-ready', 'unreachable'].map(
  (state) => ({ key: `node.kubernetes.io/${state}`, operator: 'Exists', effect: 'NoExecute' }) as const,
);

/** Kueue holds a pod back until it has chosen its node. */
const KUEUE_GATES = ['kueue.x-k8s.io/admission', 'kueue.x-k8s.io/topology'];

const same = (field: string, declared: unknown): string =>
  declared === undefined
    ? `!has(variables.spec.${field})`
    : `variables.spec.?${field} == optional.of(${literal(declared)})`;

/** @returns that a run is placed as its platform declares, and keeps nobody else from being placed. */
export const placementRules = (placement: RunPlacement, kueue: boolean): Rule[] => {
  const { nodeSelector = {}, tolerations = [], priorityClassName, runtimeClassName, hostUsers } = placement;
  const tolerated = [...tolerations, ...GIVEN_TOLERATIONS].map(({ key, operator, effect = '', ...rest }) => [
    key,
    operator,
    'value' in rest ? rest.value : '',
    effect,
  ]);
  return [
    {
      expression: same('priorityClassName', priorityClassName),
      message: `a run's priority class is ${priorityClassName ?? 'not set'}`,
    },
    {
      expression: all(same('runtimeClassName', runtimeClassName), same('hostUsers', hostUsers)),
      message: `a run's sandbox is the platform's: runtimeClassName ${runtimeClassName ?? 'not set'}, hostUsers ${hostUsers ?? 'not set'}`,
    },
    {
      // A flavor of Kueue's adds the labels of its nodes.
      expression: kueue
        ? `${literal(nodeSelector)}.all(k, variables.nodeSelector[?k] == ${literal(nodeSelector)}[?k])`
        : `variables.nodeSelector == ${literal(nodeSelector)}`,
      message: `a run's nodeSelector ${kueue ? 'contains' : 'is'} ${literal(nodeSelector)}`,
    },
    {
      expression: `variables.spec.?tolerations.orValue([]).all(t, [t.?key.orValue(""), t.?operator.orValue("Equal"), t.?value.orValue(""), t.?effect.orValue("")] in ${literal(tolerated)})`,
      message: `a run tolerates only ${tolerated.map(([key]) => key).join(', ')}, as the platform declares it`,
    },
    {
      expression: all(
        'variables.spec.?schedulerName.orValue("default-scheduler") == "default-scheduler"',
        '!has(variables.spec.affinity)',
        empty('variables.spec.?topologySpreadConstraints'),
        kueue
          ? `variables.spec.?schedulingGates.orValue([]).all(g, g.name in ${literal(KUEUE_GATES)})`
          : empty('variables.spec.?schedulingGates'),
      ),
      message:
        'a run is placed by the default scheduler, beside whatever is there: no affinity, topologySpreadConstraints or schedulingGates',
    },
  ];
};
