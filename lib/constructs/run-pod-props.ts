import { z } from 'zod';
import { labelKeySchema, labelValueSchema, objectNameSchema, SYSTEM_PREFIX } from '../names.ts';
import { ACCOUNTS, GATEWAY } from '../platform-names.ts';
import { runSizeSchema, type RunSize } from '../run-size.ts';

/** Where the run finds the run gateway, how it knows it, and how it proves who it is itself. */
export interface RunGateway {
  /** `https://host:port`, without credentials: it stands in the pod's environment. */
  readonly url: string;
  /**
   * The only certificate authorities that the run trusts for the gateway: one or more certificates in PEM. Public,
   * and so inline in the pod's environment.
   */
  readonly ca: string;
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

/** What a runner's pod is made from, whether a Job or a warm pool makes it. */
export interface RunPodProps {
  /** The runner image by digest: `registry/name@sha256:…`. */
  readonly image: string;
  /**
   * Whether `image` may be `name:tag`, for clusters into which images are loaded by hand.
   * @default false
   */
  readonly allowImageTag?: boolean;
  /** @default - 1 core, 512 MiB of memory, 64 MiB of it for /tmp */
  readonly size?: RunSize;
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

/** Room for a dozen certificates; one variable of a process may have 128 KiB. */
const CA_CHARACTERS = 32 * 1024;

const gatewaySchema = z.strictObject({
  url: z
    .string()
    .max(2048)
    .regex(
      /^https:\/\/(?:[a-z0-9][-a-z0-9.]*|\[[0-9a-f:]+\])(?::[0-9]{1,5})?$/,
      'an https origin without path or credentials, e.g. "https://gateway.wormhole-system.svc:8443"',
    ),
  ca: z
    .string()
    .max(CA_CHARACTERS)
    .regex(
      /^(?:-----BEGIN CERTIFICATE-----\n(?:[A-Za-z0-9+/=]{1,76}\n)+-----END CERTIFICATE-----\n*)+$/,
      'one or more certificates in PEM, and nothing else',
    ),
  audience: z
    .string()
    .max(253)
    .regex(/^[!-~]+$/, 'printable characters without spaces')
    .default(GATEWAY.audience),
});

const toleration = {
  key: labelKeySchema,
  effect: z.enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute']).exactOptional(),
};
export const placementSchema = z.strictObject({
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
  priorityClassName: objectNameSchema
    .refine((name) => !name.startsWith(SYSTEM_PREFIX), `a class that does not start with "${SYSTEM_PREFIX}"`)
    .exactOptional(),
  runtimeClassName: objectNameSchema.exactOptional(),
  hostUsers: z.literal(false).exactOptional(),
});

/** Kubernetes refuses an IPv4 address in the clothes of IPv6. */
const addressSchema = z.union(
  [z.ipv4(), z.ipv6().refine((address) => !/^[0:]*:ffff:/i.test(address))],
  'an IPv4 or IPv6 address, not one mapped to the other',
);

/** The keys of `RunPodProps`. `image` is checked with `refuseImage`, because `allowImageTag` stands beside it. */
export const runPodShape = {
  image: z.string(),
  allowImageTag: z.boolean().default(false),
  size: runSizeSchema,
  gateway: gatewaySchema,
  hosts: z.record(objectNameSchema, addressSchema).default({}),
  serviceAccountName: objectNameSchema.default(ACCOUNTS.runner),
  terminationGracePeriodSeconds: z.int().min(5).max(300).default(10),
  placement: placementSchema.default({}),
};

/** The properties with their defaults filled in. */
export type CheckedRunPodProps = z.output<z.ZodObject<typeof runPodShape>>;
