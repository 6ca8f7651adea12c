import { z } from 'zod';
import { imageSchema } from '../image.ts';
import {
  dnsLabelSchema,
  labelKeySchema,
  labelValueSchema,
  objectNameSchema,
  tenantIdSchema,
  tenantNamespaceSchema,
  uuidSchema,
} from '../names.ts';
import { runSizeSchema, type RunSize } from '../run-size.ts';

/** Where the run finds the run gateway, and how it proves who it is. */
export interface RunGateway {
  /** `https://host:port`, without credentials: it stands in the pod's environment. */
  readonly url: string;
  /**
   * The audience of the projected token: no other service accepts it.
   * @default "wormhole-gateway"
   */
  readonly audience?: string;
}

/** A taint that the run's pod puts up with. A toleration of everything (no key) is refused. */
export type RunToleration =
  | { readonly key: string; readonly operator: 'Exists'; readonly effect?: TaintEffect }
  | {
      readonly key: string;
      readonly operator: 'Equal';
      readonly value: string;
      readonly effect?: TaintEffect;
    };
type TaintEffect = 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute';

/** On which nodes, how urgently and in which sandbox the pod runs. Spelled as in a Kubernetes pod. */
export interface RunPlacement {
  /** @default - any node */
  readonly nodeSelector?: Record<string, string>;
  /** @default - none */
  readonly tolerations?: RunToleration[];
  /** @default - the cluster's default priority */
  readonly priorityClassName?: string;
  /**
   * A sandboxed runtime, e.g. gVisor or Kata.
   * @default - the cluster's default runtime
   */
  readonly runtimeClassName?: string;
  /**
   * `false` puts the pod into a user namespace of its own, where the cluster can.
   * @default - the cluster's default: the host's user namespace
   */
  readonly hostUsers?: false;
}

export interface RunJobProps {
  /** A UUID in lower case. */
  readonly runId: string;
  /** Counts from 1. */
  readonly attempt: number;
  readonly tenantId: string;
  /** A UUID in lower case. */
  readonly workflowVersionId: string;
  /** The platform instance that the run belongs to. */
  readonly instance: string;
  /** The tenant's namespace; neither `default` nor one of Kubernetes' own. */
  readonly namespace: string;
  /** The runner image by digest: `registry/name@sha256:…`. */
  readonly image: string;
  /**
   * Whether `image` may be `name:tag`, for clusters into which images are loaded by hand.
   * @default false
   */
  readonly allowImageTag?: boolean;
  /** @default - 1 core, 512 MiB of memory, 64 MiB of it for /tmp */
  readonly size?: RunSize;
  /**
   * Seconds from the Job's creation, the wait for a node and the image included, to its forced end. Kubernetes then
   * deletes the pod with its exit code, so the run's own deadline has to be earlier.
   */
  readonly deadlineSeconds: number;
  readonly gateway: RunGateway;
  /**
   * Names that the run can resolve and their addresses: it has no DNS.
   * @default - none
   */
  readonly hosts?: Readonly<Record<string, string>>;
  /**
   * A service account without any right; the projected token is one of its.
   * @default "wormhole-runner"
   */
  readonly serviceAccountName?: string;
  /**
   * Seconds from SIGTERM to SIGKILL. The runner reports and exits within 5.
   * @default 10
   */
  readonly terminationGracePeriodSeconds?: number;
  /** @default - any node, default priority, default runtime */
  readonly placement?: RunPlacement;
}

/** The longest run is 24 hours; one more is left for the node and the image. */
const MAX_DEADLINE_SECONDS = 25 * 60 * 60;

const gatewaySchema = z.strictObject({
  url: z
    .string()
    .max(2048)
    .regex(
      /^https:\/\/(?:[a-z0-9][-a-z0-9.]*|\[[0-9a-f:]+\])(?::[0-9]{1,5})?$/,
      'an https origin without path or credentials, e.g. "https://gateway.wormhole-system.svc:8443"',
    ),
  audience: z
    .string()
    .max(253)
    .regex(/^[!-~]+$/, 'printable characters without spaces')
    .default('wormhole-gateway'),
});

const toleration = {
  key: labelKeySchema,
  effect: z.enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute']).exactOptional(),
};
const placementSchema = z.strictObject({
  nodeSelector: z.record(labelKeySchema, labelValueSchema).exactOptional(),
  tolerations: z
    .array(
      z.discriminatedUnion('operator', [
        z.strictObject({ ...toleration, operator: z.literal('Exists') }),
        z.strictObject({ ...toleration, operator: z.literal('Equal'), value: labelValueSchema }),
      ]),
    )
    .max(32)
    .exactOptional(),
  priorityClassName: objectNameSchema.exactOptional(),
  runtimeClassName: objectNameSchema.exactOptional(),
  hostUsers: z.literal(false).exactOptional(),
});

export const runJobPropsSchema = z
  .strictObject({
    runId: uuidSchema,
    attempt: z.int().min(1).max(1000),
    tenantId: tenantIdSchema,
    workflowVersionId: uuidSchema,
    instance: dnsLabelSchema,
    namespace: tenantNamespaceSchema,
    image: z.string(),
    allowImageTag: z.boolean().default(false),
    size: runSizeSchema,
    deadlineSeconds: z.int().min(1).max(MAX_DEADLINE_SECONDS),
    gateway: gatewaySchema,
    hosts: z.record(objectNameSchema, z.union([z.ipv4(), z.ipv6()], 'an IPv4 or IPv6 address')).default({}),
    serviceAccountName: objectNameSchema.default('wormhole-runner'),
    terminationGracePeriodSeconds: z.int().min(5).max(300).default(10),
    placement: placementSchema.default({}),
  })
  .superRefine(({ image, allowImageTag }, context) => {
    const result = imageSchema(allowImageTag).safeParse(image);
    result.error?.issues.forEach(({ message }) => {
      context.addIssue({ code: 'custom', path: ['image'], input: image, message });
    });
  });

/** The properties with their defaults filled in. */
export type CheckedRunJobProps = z.output<typeof runJobPropsSchema>;
