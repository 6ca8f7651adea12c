import { ApiObject } from 'cdk8s';
import { Construct } from 'constructs';
import { z } from 'zod';
import type { k8s } from '../../imports/k8s.ts';
import type { Rule } from '../cel.ts';
import { checked } from '../checked.ts';
import { refuseImage } from '../image.ts';
import { COMPONENTS, componentLabels, LABELS, MANAGED_BY } from '../labels.ts';
import { dnsLabelSchema } from '../names.ts';
import { GATEWAY } from '../platform-names.ts';
import { runJobPropsSchema } from './run-job-props.ts';
import { placementSchema, type RunPlacement } from './run-pod-props.ts';
import { annotationRule, POD_VARIABLES, runPodRules } from './run-pod-rules.ts';

export interface RunAdmissionPolicyProps {
  /** The platform instance whose tenant namespaces are guarded. */
  readonly instance: string;
  /** The images that a run may have, as they stand in its pod; during an upgrade the old and the new one. */
  readonly images: string[];
  /**
   * Whether `images` may be `name:tag`.
   * @default false
   */
  readonly allowImageTag?: boolean;
  /**
   * The audience of the only token that a run may have.
   * @default "wormhole-gateway"
   */
  readonly audience?: string;
  /**
   * Where every run is placed. With a new one, runs of controllers that still have the old one are refused.
   * @default - any node, default runtime, no priority class, not even the cluster's default
   */
  readonly placement?: RunPlacement;
  /**
   * Whether Kueue says when a run starts. Its flavors may add labels of nodes, but no toleration that `placement` has
   * not.
   * @default false
   */
  readonly kueue?: boolean;
}

const propsSchema = z
  .strictObject({
    instance: dnsLabelSchema,
    images: z.array(z.string()).min(1).max(16),
    allowImageTag: z.boolean().default(false),
    audience: z
      .string()
      .max(253)
      .regex(/^[!-~]+$/, 'printable characters without spaces')
      .default(GATEWAY.audience),
    placement: placementSchema.default({}),
    kueue: z.boolean().default(false),
  })
  .superRefine(({ images, allowImageTag }, context) =>
    images.forEach((image, index) => refuseImage(context, ['images', index], image, allowImageTag)),
  );

interface Policy {
  /** Which requests: resources of one API group, and what is done to them. */
  readonly resources: k8s.NamedRuleWithOperationsV1Beta1;
  /** CEL; the validations are not asked about requests for which it is false. */
  readonly when?: string;
  readonly variables?: readonly k8s.VariableV1Beta1[];
  readonly validations: readonly Rule[];
}

/** The longest that a Job may run, in seconds: what RunJob takes. */
const DEADLINE_SECONDS = Number(runJobPropsSchema.shape.deadlineSeconds.maxValue);

/** The longest that a Job that ended may stay, in seconds. */
const TTL_SECONDS = 3600;

/** Rules of a Job beside those of its pod. */
const JOB_RULES: readonly Rule[] = [
  // Only an indexed Job has a successPolicy, a backoffLimitPerIndex or maxFailedIndexes.
  {
    expression:
      'object.spec.?parallelism.orValue(1) == 1 && object.spec.?completions.orValue(1) == 1 && object.spec.?completionMode.orValue("NonIndexed") == "NonIndexed"',
    message: "a run's Job has one pod: parallelism 1, completions 1, completionMode NonIndexed",
  },
  {
    expression:
      'object.spec.?backoffLimit.orValue(6) == 0 && object.spec.?podReplacementPolicy.orValue("") == "Failed" && object.spec.?podFailurePolicy.?rules.orValue([]).all(r, r.action == "FailJob")',
    message:
      "a run's Job never starts a second pod: backoffLimit 0, podReplacementPolicy Failed, podFailurePolicy only FailJob",
  },
  {
    expression: '!has(object.spec.managedBy) && !object.spec.?manualSelector.orValue(false)',
    message:
      "a run's Job is the Job controller's, with its own pods: managedBy and manualSelector are not set",
  },
  {
    expression: `object.spec.?activeDeadlineSeconds.orValue(${DEADLINE_SECONDS + 1}) <= ${DEADLINE_SECONDS} && object.spec.?ttlSecondsAfterFinished.orValue(${TTL_SECONDS + 1}) <= ${TTL_SECONDS}`,
    message: `a run's Job ends and is removed: activeDeadlineSeconds is at most ${DEADLINE_SECONDS}, ttlSecondsAfterFinished at most ${TTL_SECONDS}`,
  },
];

const NO_NODE = 'a run is placed by the scheduler: nodeName is not set';

const onCreate = ({ expression, message }: Rule): Rule => ({
  expression: `request.operation != "CREATE" || (${expression})`,
  message,
});

/** Rules of a pod that are not rules of a Job's template. */
const POD_RULES: readonly Rule[] = [
  onCreate({ expression: '!has(variables.spec.nodeName)', message: NO_NODE }),
  // The Job is what has a deadline and is removed.
  onCreate({
    expression:
      'object.metadata.?ownerReferences.orValue([]).exists(o, o.apiVersion == "batch/v1" && o.kind == "Job" && o.?controller.orValue(false))',
    message: "a run's pod is a Job's",
  }),
  {
    expression: 'variables.spec.?ephemeralContainers.orValue([]).size() == 0',
    message: 'a run has no ephemeral containers',
  },
  {
    expression: `request.operation != "UPDATE" || ${JSON.stringify([LABELS.runId, LABELS.attempt])}.all(k, variables.labels[?k] == oldObject.metadata.?labels[?k])`,
    message: 'a pod stays the run that it is: its run-id and attempt labels do not change',
  },
];

/**
 * What is written of a pod later, finalizers and owners, is not judged again: a run that was admitted has to end also
 * when the platform's images have changed since.
 */
const SHAPE_CHANGES =
  'request.operation != "UPDATE" || object.spec != oldObject.spec || object.metadata.?labels != oldObject.metadata.?labels';

/**
 * The second line of defence in the namespaces of tenants, for when a controller, an account or a person does what
 * they should not: a pod that is not shaped like `RunJob`'s is refused, whoever creates it, a Job of such pods as
 * well, and nobody gets into a run that is under way.
 * https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
 */
export class RunAdmissionPolicy extends Construct {
  /** @throws {InvalidValueError} with every property that is not allowed. */
  constructor(scope: Construct, id: string, props: RunAdmissionPolicyProps) {
    super(scope, id);
    const { instance, images, audience, placement, kueue } = checked(
      'RunAdmissionPolicy',
      propsSchema,
      props,
    );
    const rules = runPodRules({ instance, images, audience, placement, kueue });
    const annotations = annotationRule(kueue);
    const pod = { apiGroups: [''], apiVersions: ['v1'] };

    this.policy(instance, 'run-pods', {
      resources: {
        ...pod,
        operations: ['CREATE', 'UPDATE'],
        // Labels may be written through the status too.
        resources: ['pods', 'pods/status', 'pods/ephemeralcontainers', 'pods/resize'],
      },
      when: SHAPE_CHANGES,
      variables: [{ name: 'pod', expression: 'object' }, ...POD_VARIABLES],
      // Networks annotate pods when they have given them an address.
      validations: [...rules, onCreate(annotations), ...POD_RULES],
    });
    this.policy(instance, 'run-jobs', {
      resources: {
        apiGroups: ['batch'],
        apiVersions: ['v1'],
        operations: ['CREATE', 'UPDATE'],
        resources: ['jobs'],
      },
      when: SHAPE_CHANGES,
      variables: [{ name: 'pod', expression: 'object.spec.template' }, ...POD_VARIABLES],
      validations: [
        ...JOB_RULES,
        ...rules,
        annotations,
        { expression: '!has(variables.spec.nodeName)', message: NO_NODE },
      ],
    });
    this.policy(instance, 'run-access', {
      resources: {
        ...pod,
        operations: ['CONNECT'],
        resources: ['pods/exec', 'pods/attach', 'pods/portforward', 'pods/proxy'],
      },
      validations: [
        { expression: 'false', message: 'nobody enters a run: no exec, attach, port-forward or proxy' },
      ],
    });
  }

  private policy(instance: string, id: string, policy: Policy): void {
    const name = `${instance}-${id}`;
    const metadata = { name, labels: { [LABELS.managedBy]: MANAGED_BY, [LABELS.instance]: instance } };
    const spec = {
      failurePolicy: 'Fail',
      matchConstraints: {
        namespaceSelector: { matchLabels: componentLabels(instance, COMPONENTS.tenant) },
        // The default, written out: Argo CD compares the list as it stands here.
        resourceRules: [{ ...policy.resources, scope: '*' }],
      },
      ...(policy.when && { matchConditions: [{ name: 'shape-changes', expression: policy.when }] }),
      ...(policy.variables && { variables: [...policy.variables] }),
      validations: policy.validations.map((rule) => ({ ...rule, reason: 'Forbidden' })),
    } satisfies k8s.ValidatingAdmissionPolicySpecV1Beta1;
    // Not the L1 class: Kubernetes 1.28 knew v1beta1 only, 1.30 has v1.
    const apiVersion = 'admissionregistration.k8s.io/v1';
    new ApiObject(this, id, { apiVersion, kind: 'ValidatingAdmissionPolicy', metadata, spec });
    new ApiObject(this, `${id}-binding`, {
      apiVersion,
      kind: 'ValidatingAdmissionPolicyBinding',
      metadata,
      spec: {
        policyName: name,
        validationActions: ['Deny'],
      } satisfies k8s.ValidatingAdmissionPolicyBindingSpecV1Beta1,
    });
  }
}
