import { ApiObject } from 'cdk8s';
import { Construct } from 'constructs';
import { z } from 'zod';
import type { k8s } from '../../imports/k8s.ts';
import { checked } from '../checked.ts';
import { refuseImage } from '../image.ts';
import { COMPONENTS, componentLabels, LABELS, MANAGED_BY } from '../labels.ts';
import { dnsLabelSchema } from '../names.ts';
import { GATEWAY } from '../platform-names.ts';
import { POD_VARIABLES, runPodRules, type Rule } from './run-pod-rules.ts';

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
    const { instance, images, audience } = checked('RunAdmissionPolicy', propsSchema, props);
    const rules = runPodRules({ instance, images, audience });
    const pod = { apiGroups: [''], apiVersions: ['v1'] };

    this.policy(instance, 'run-pods', {
      resources: {
        ...pod,
        operations: ['CREATE', 'UPDATE'],
        resources: ['pods', 'pods/ephemeralcontainers', 'pods/resize'],
      },
      when: SHAPE_CHANGES,
      variables: [{ name: 'pod', expression: 'object' }, ...POD_VARIABLES],
      validations: [
        ...rules,
        {
          expression: 'request.operation != "CREATE" || !has(variables.spec.nodeName)',
          message: 'a run is placed by the scheduler: nodeName is not set',
        },
      ],
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
        {
          expression:
            'object.spec.?parallelism.orValue(1) == 1 && object.spec.?completions.orValue(1) == 1 && object.spec.?backoffLimit.orValue(6) == 0 && object.spec.?podReplacementPolicy.orValue("") == "Failed"',
          message:
            "a run's Job starts one pod once: parallelism 1, completions 1, backoffLimit 0, podReplacementPolicy Failed",
        },
        {
          expression: 'has(object.spec.activeDeadlineSeconds) && has(object.spec.ttlSecondsAfterFinished)',
          message:
            "a run's Job ends and is removed: activeDeadlineSeconds and ttlSecondsAfterFinished are set",
        },
        ...rules,
        {
          expression: '!has(variables.spec.nodeName)',
          message: 'a run is placed by the scheduler: nodeName is not set',
        },
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
